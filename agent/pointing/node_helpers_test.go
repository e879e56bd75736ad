package pointing

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/config"
	"image-cri-shim/explain"
)

// testNode is a node in a folder. It has a kubelet that reads its configuration when it is
// restarted, the admin socket of a shim, and as a Manager, the units of the switch.
type testNode struct {
	*Pointing
	t        *testing.T
	settings *config.Config

	mutex      sync.Mutex
	process    int    // of kubelet
	running    bool   // kubelet
	connected  bool   // kubelet at the shim
	restarts   int    // of kubelet
	timer      bool   // is running
	failsAt    string // kubelet fails with a configuration that contains this
	unhealthy  bool   // kubelet's healthz while it is connected to the shim
	switchFail bool   // the service of the switch fails
	armFail    bool   // the timer of the switch can't be started
	stopped    bool   // the shim does not answer
}

const timesOfTest = 300 * time.Millisecond

func newTestNode(t *testing.T) *testNode {
	t.Helper()
	root, err := os.MkdirTemp("", "node")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	log := logrus.New()
	log.SetOutput(t.Output())
	n := &testNode{t: t, running: true, process: 100}
	n.Pointing = New(n, "/opt/image-cri-shim", log)
	n.root, n.times = root, times{kubelet: 3 * timesOfTest, settle: time.Millisecond, connect: timesOfTest, revert: time.Minute}
	n.settings = &config.Config{Shim: filepath.Join(root, "run/shim.sock"), Runtime: filepath.Join(root, "run/containerd.sock"), StateDirectory: filepath.Join(root, "state")}

	healthz := httptest.NewServer(http.HandlerFunc(n.serveHealthz))
	t.Cleanup(healthz.Close)
	n.write("/opt/image-cri-shim", "#!/bin/sh\n")
	n.write("/etc/image-cri-shim.yaml", fmt.Sprintf("shim: %s\ncri: %s\nimage: %s\n", n.settings.Shim, n.settings.Runtime, n.settings.StateDirectory))
	n.write("/var/lib/kubelet/config.yaml", fmt.Sprintf("kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix://%s # x\nhealthzPort: %d\n", n.settings.Runtime, healthz.Listener.Addr().(*net.TCPAddr).Port))
	n.write("/var/lib/kubelet/instance-config.yaml", "containerRuntimeEndpoint: "+n.settings.Runtime+"\n")
	n.write("/var/lib/kubelet/kubeadm-flags.env", "A=\"--container-runtime-endpoint="+n.settings.Runtime+"\"\n")
	n.write("/etc/crictl.yaml", "runtime-endpoint: "+n.settings.Runtime+"\n")
	n.write("/etc/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n")

	n.write("/state/x", "")
	listener, err := net.Listen("unix", n.path("/state/admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	admin := httptest.NewUnstartedServer(http.HandlerFunc(n.serveAbout))
	admin.Listener = listener
	admin.Start()
	t.Cleanup(admin.Close)
	return n
}

func (n *testNode) write(file, content string) {
	n.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(n.path(file)), 0o700), os.WriteFile(n.path(file), []byte(content), 0o700)); err != nil {
		n.t.Fatal(err)
	}
}

// files returns the content of all files of the node by path, apart from those of the agent.
func (n *testNode) files() map[string]string {
	files := make(map[string]string)
	_ = filepath.WalkDir(n.root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && !strings.HasSuffix(path, recordFile) {
			content, _ := os.ReadFile(path)
			files[path] = string(content)
		}
		return nil
	})
	return files
}

func (n *testNode) serveHealthz(w http.ResponseWriter, _ *http.Request) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if !n.running || n.unhealthy && n.connected {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (n *testNode) serveAbout(w http.ResponseWriter, _ *http.Request) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.stopped {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	status := explain.ShimStatus{Clients: []explain.ShimClient{{Process: 7, Name: "crictl", Calls: 1}}}
	if n.connected {
		status.Clients = append(status.Clients, explain.ShimClient{Process: n.process, Name: "kubelet", Calls: 1})
	}
	_ = json.NewEncoder(w).Encode(status)
}

// restart starts kubelet with its configuration. n.mutex is held.
func (n *testNode) restart() {
	content, _ := os.ReadFile(n.path("/var/lib/kubelet/config.yaml"))
	n.restarts++
	n.process++
	n.running = n.failsAt == "" || !strings.Contains(string(content), n.failsAt)
	n.connected = n.running && !strings.Contains(string(content), n.settings.Runtime)
}

// recorder returns a step function and the steps that it was called with.
func recorder() (step func(string), steps *[]string) {
	steps = new([]string)
	return func(name string) { *steps = append(*steps, name) }, steps
}

// killed is the panic of a step at which the agent is killed.
type killed struct{}

// killAt calls work, which ends without any clean-up at the given step.
func killAt(step string, work func(step func(string)) error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			if _, ok := reason.(killed); !ok {
				panic(reason)
			}
			err = errors.New("killed")
		}
	}()
	return work(func(name string) {
		if name == step {
			panic(killed{})
		}
	})
}

// wantPointed requires that the clients of the node do or do not use the shim, that kubelet is
// well, and that the switch is disarmed.
func (n *testNode) wantPointed(want bool) {
	n.t.Helper()
	if pointed, err := n.Pointed(n.t.Context(), n.settings); err != nil || pointed != want {
		n.t.Errorf("Pointed returns %t, %v, want %t", pointed, err, want)
	}
	if n.connected != want || !n.running {
		n.t.Errorf("kubelet is running: %t, connected to the shim: %t, want %t", n.running, n.connected, want)
	}
	if s := (&revertSwitch{root: n.root}); s.hasFiles() || n.timer {
		n.t.Errorf("the switch is left: armed %t, timer %t", s.isArmed(), n.timer)
	}
}

// wantFiles requires that the files are as before.
func (n *testNode) wantFiles(before map[string]string) {
	n.t.Helper()
	after := n.files()
	for path, content := range before {
		if after[path] != content {
			n.t.Errorf("%s is %q, want %q", path, after[path], content)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			n.t.Errorf("%s is left", path)
		}
	}
}

func (n *testNode) wantRestarts(want ...int) {
	n.t.Helper()
	if !slices.Contains(want, n.restarts) {
		n.t.Errorf("kubelet was restarted %d times, want %v", n.restarts, want)
	}
}
