package rollout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/pointing"
	"image-cri-shim/agent/service"
	"image-cri-shim/agent/status"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

const (
	oldVersion, newVersion = "v1", "v2"
	machineID              = "0123456789abcdef0123456789abcdef"
)

// testNode is a node in memory. Its service and clients act as the real ones do, and record the
// actions that change the node.
type testNode struct {
	folder  string
	actions []string
	fails   map[string]error // by action: install, check, look-up, needs restart, arm, apply, probe, edit, remove

	installed map[string]bool  // versions in /opt
	files     service.Files    // nil without a configuration
	version   string           // that serves; empty: stopped
	proven    map[release]bool // releases whose probe has succeeded
	checked   bool             // Check has put files in place
	packaged  bool
	unreached []string          // registries
	failures  []service.Finding // of the doctor
	examined  int               // number of the doctor's runs
	lookedUp  int               // number of look-ups
	hangs     bool              // the doctor, until its time is over

	armed, pointed, connected bool
	kubeletFails              bool // when it uses the shim
	kubelet                   pointing.Kubelet
	restarts                  []time.Time
	log                       bytes.Buffer
	changes                   atomic.Int32 // orders the test's changes before the agent's looks
}

// pass lets time pass after changes of the node, and waits until the agent has nothing to do.
func (n *testNode) pass(d time.Duration) {
	n.changes.Add(1)
	time.Sleep(d)
	synctest.Wait()
}

// newTestNode returns a node without a shim. Its files are in memory if possible, because the
// agent syncs each write.
func newTestNode(t *testing.T) *testNode {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "rollout-")
	if err != nil {
		folder = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return &testNode{folder: folder, fails: map[string]error{}, installed: map[string]bool{}, proven: map[release]bool{}}
}

func (n *testNode) act(name string) error {
	n.changes.Load()
	if err := n.fails[name]; err != nil {
		return err
	}
	n.actions = append(n.actions, name)
	return nil
}

// testService is the service of one version on the node.
type testService struct {
	*testNode
	version string
}

func (s testService) Packaged() bool { return s.packaged }

func (s testService) Installed() bool {
	return s.files != nil || len(s.installed) > 0
}

func (s testService) InstallBinary(ctx context.Context) error {
	s.changes.Load()
	if s.installed[s.version] {
		return ctx.Err()
	}
	if err := s.act("install"); err != nil {
		return err
	}
	s.installed[s.version] = true
	return nil
}

func (s testService) Check(_ context.Context, files service.Files) (*config.Config, error) {
	if err := s.fails["check"]; err != nil {
		return nil, err
	}
	if _, invalid := files["invalid"]; invalid {
		return nil, errors.New("image-cri-shim.yaml:3: key registries: invalid")
	}
	s.checked = true
	return &config.Config{}, nil
}

func (s testService) Discard() error { s.checked = false; return nil }

func (s testService) LookUp(context.Context, *config.Config) (results []service.RegistryResult, err error) {
	s.lookedUp++
	if err := s.fails["look-up"]; err != nil {
		return nil, err
	}
	for _, address := range []string{"a:5000", "b:5000"} {
		r := service.RegistryResult{Address: address, Reachable: !slices.Contains(s.unreached, address)}
		if !r.Reachable {
			r.Err = errors.New("connection refused")
		}
		results = append(results, r)
	}
	return results, nil
}

func (s testService) Apply(_ context.Context, files service.Files) (bool, error) {
	if s.files.Hash() == files.Hash() && s.testNode.version == s.version {
		s.checked = false
		return false, nil
	}
	s.checked = false
	if err := s.act("apply " + s.version); err != nil {
		return false, err
	}
	s.testNode.files, s.testNode.version = maps.Clone(files), s.version
	return true, nil
}

func (s testService) NeedsRestart(_ context.Context, files service.Files) (bool, error) {
	return s.files.Hash() != files.Hash() || s.testNode.version != s.version, s.fails["needs restart"]
}

func (s testService) Probe(context.Context) error {
	if _, broken := s.files["broken"]; broken {
		return errors.New("the shim does not answer")
	}
	err := s.fails["probe"]
	if err == nil {
		s.proven[release{s.files.Hash(), s.testNode.version}] = true
	}
	return err
}

func (s testService) Examine(ctx context.Context) ([]service.Finding, error) {
	s.changes.Load()
	s.examined++
	if s.hangs {
		if err := sleep(ctx, 30*time.Second); err != nil {
			return nil, err
		}
		return nil, errors.New("run image-cri-shim doctor: context deadline exceeded")
	}
	return s.failures, s.fails["doctor"]
}

func (s testService) Drift(_ context.Context, files service.Files) (found []string, err error) {
	s.changes.Load()
	if s.files.Hash() != files.Hash() {
		found = append(found, "the configuration was changed")
	}
	if s.testNode.version != s.version {
		found = append(found, "the shim is stopped")
	}
	return found, s.fails["drift"]
}

func (s testService) Remove(context.Context) error {
	if err := s.act("remove"); err != nil {
		return err
	}
	s.files, s.testNode.version, s.installed = nil, "", map[string]bool{}
	return nil
}

// testClients are kubelet and crictl of the node.
type testClients struct {
	*testNode
	record *Record
}

func (c testClients) Drift(context.Context, *config.Config) ([]string, error) {
	c.changes.Load()
	if c.pointed {
		return nil, nil
	}
	return []string{"/var/lib/kubelet/config.yaml does not point at the shim"}, nil
}

func (c testClients) restart() {
	c.record.restarted()
	c.actions = append(c.actions, "restart")
	c.restarts = append(c.restarts, time.Now())
	c.connected = c.pointed && !c.kubeletFails
}

func (c testClients) Point(ctx context.Context, _ *config.Config, step func(string)) error {
	if c.pointed && c.connected && !c.armed {
		return nil
	}
	if _, broken := c.files["broken"]; broken {
		return errors.Join(errors.New("the shim does not answer"), c.Unpoint(ctx, nil, step))
	}
	step(pointing.StepArm)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.armed = true
	step(pointing.StepEdit)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.act("edit"); err != nil {
		return err
	}
	c.pointed = true
	if !c.connected {
		step(pointing.StepRestart)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.restart()
	}
	step(pointing.StepAwait)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !c.connected {
		if err := sleep(ctx, time.Minute); err != nil {
			return err
		}
		step(pointing.StepRevert)
		c.pointed, c.armed = false, false
		c.restart()
		return errors.New("kubelet did not connect to the shim within 1m")
	}
	step(pointing.StepDisarm)
	c.armed = false
	return nil
}

func (c testClients) Unpoint(ctx context.Context, _ *config.Config, step func(string)) error {
	c.changes.Load()
	if c.pointed || c.connected {
		step(pointing.StepRevert)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.act("unpoint"); err != nil {
			c.restart()
			return err
		}
		c.pointed = false
		c.restart()
	}
	step(pointing.StepDisarm)
	c.armed = false
	return nil
}

func (c testClients) Resume(ctx context.Context, settings *config.Config) error {
	switch {
	case !c.armed:
		return c.fails["resume"]
	case settings == nil:
		return c.Unpoint(ctx, nil, func(string) {})
	}
	return c.Point(ctx, settings, func(string) {})
}

func (c testClients) Arm(context.Context, *config.Config) error {
	if err := c.fails["arm"]; err != nil {
		return err
	}
	c.armed = c.pointed
	return nil
}

func (c testClients) Disarm(context.Context) error {
	c.armed = false
	return nil
}

func (c testClients) Kubelet(context.Context, *config.Config) (pointing.Kubelet, error) {
	c.changes.Load()
	k := c.kubelet
	k.Pointed = c.pointed
	if k.Unit == "" {
		k = pointing.Kubelet{Unit: "kubelet.service", Active: "active", Process: 1, Pointed: c.pointed}
	}
	return k, nil
}

func (n *testNode) about(context.Context, *config.Config) (explain.ShimStatus, error) {
	n.changes.Load()
	if n.version == "" {
		return explain.ShimStatus{}, errors.New("no shim listens")
	}
	s := explain.ShimStatus{Version: n.version}
	if n.connected {
		s.Clients = []explain.ShimClient{{Name: "crictl"}, {Name: "kubelet"}}
	}
	return s, nil
}

// agent starts an agent of a version on the node.
func (n *testNode) agent(t *testing.T, version string, change ...func(*Options)) *Rollout {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.MultiWriter(&n.log, t.Output()))
	record, err := OpenRecord(filepath.Join(n.folder, "state"), machineID, log)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{
		Command: "agent", Version: version,
		Service: testService{n, version},
		Former:  func(version string) Service { return testService{n, version} },
		Clients: testClients{n, record},
		Settings: func() *config.Config {
			if n.files == nil {
				return nil
			}
			return &config.Config{}
		},
		About: n.about, Record: record,
		Status: filepath.Join(n.folder, "run", "status.json"),
		Gate:   WasReachable, Interval: 45 * time.Second, Log: log,
	}
	for _, c := range change {
		c(&options)
	}
	return New(options)
}

func (n *testNode) status(t *testing.T) status.Status {
	t.Helper()
	s, err := status.Read(filepath.Join(n.folder, "run", "status.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// desired returns a configuration with an additional key.
func desired(version, key string) Desired {
	return Desired{Files: service.Files{service.ConfigKey: []byte("password: canary"), key: []byte(key)}, Version: version}
}

// wantServing requires that the node serves d and kubelet uses the shim.
func (n *testNode) wantServing(t *testing.T, d Desired) {
	t.Helper()
	if n.files.Hash() != d.Files.Hash() || n.version != d.Version || !n.pointed || !n.connected || n.armed {
		t.Errorf("files %d, version %q, pointed %t, connected %t, armed %t; want version %s with its files, and kubelet on it",
			len(n.files), n.version, n.pointed, n.connected, n.armed, d.Version)
	}
}

// look applies or mends d.
func (n *testNode) look(t *testing.T, r *Rollout, d Desired, wantErr string) {
	t.Helper()
	err := r.look(t.Context(), &d)
	if (err == nil) != (wantErr == "") || err != nil && !bytes.Contains([]byte(err.Error()), []byte(wantErr)) {
		t.Fatalf("got error %v, want %q", err, wantErr)
	}
	s := n.status(t)
	if s.Ready != (err == nil) || err != nil && s.Reason != err.Error() {
		t.Errorf("status is ready %t with the reason %q after %v", s.Ready, s.Reason, err)
	}
	if bytes.Contains(n.log.Bytes(), []byte("canary")) || bytes.Contains([]byte(s.Reason), []byte("canary")) {
		t.Error("the password is in the log or status")
	}
}

// kill runs action, and ends it without another action of it before the step with this number.
// It reports whether there was such a step.
func kill(number int, options func(func(*Options)) *Rollout, action func(*Rollout)) (killed bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		count := 0
		action(options(func(o *Options) {
			o.Step = func(string) {
				if count == number {
					killed = true
					runtime.Goexit()
				}
				count++
			}
		}))
	}()
	<-ended
	return killed
}
