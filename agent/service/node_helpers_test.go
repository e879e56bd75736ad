package service

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
)

// configuration returns a configuration with a secret. The shim serves without its runtime.
func configuration(more string) []byte {
	return []byte("force: true\naddress: http://127.0.0.1:9\nauth: 'admin:canary-secret'\ncri: /run/runtime.sock\n" + more)
}

// parsed returns a parsed configuration.
func parsed(t *testing.T, configuration string) *config.Config {
	t.Helper()
	settings, err := config.Parse("test", []byte(configuration))
	if err != nil {
		t.Fatal(err)
	}
	return settings
}

// node is a node in a folder, with a runtime and a systemd.
type node struct {
	root    string
	systemd *testSystemd
	log     *logtest.Hook
}

// newNode returns a node with the files, by path. Its paths are short enough for sockets.
func newNode(t *testing.T, files map[string]string) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run the shim below another root")
	}
	root, err := os.MkdirTemp("", "node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	for _, folder := range []string{"etc/systemd/system", "opt", "usr", "var/lib", "run", "proc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../run", filepath.Join(root, "var/run")); err != nil {
		t.Fatal(err)
	}
	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 1234, 5678); err != nil {
			t.Fatal(err)
		}
	}
	serveRuntime(t, filepath.Join(root, "run/runtime.sock"))
	manager := &testSystemd{t: t, root: root, loaded: map[string]string{}, enabled: map[string]bool{}}
	t.Cleanup(manager.end)
	return &node{root, manager, new(logtest.Hook)}
}

// service returns the service of an agent with a version of the shim.
func (n *node) service(t *testing.T, version string) *Service {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	n.log = hook
	return newBelow(n.root, n.systemd, Release{version, buildShim(t, version)}, log)
}

// packageFiles are the units and the configuration of a package.
var packageFiles = map[string]string{
	"usr/lib/systemd/system/" + serviceUnit: "[Service]\nExecStart=/usr/bin/image-cri-shim --file /etc/image-cri-shim.yaml\n",
	"usr/lib/systemd/system/" + socketUnit:  "[Socket]\nListenStream=/run/image-cri-shim.sock\n",
	"etc/image-cri-shim.yaml":               "# the package's\n",
}

// putShim installs a shim of an earlier version that is not the agent's.
func (n *node) putShim(t *testing.T, path string) {
	t.Helper()
	binary, err := os.ReadFile(buildShim(t, "v0.9.0"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(n.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, binary, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// startAlone starts the service without its socket unit.
func (n *node) startAlone(t *testing.T) {
	t.Helper()
	if err := errors.Join(n.systemd.Reload(t.Context()), n.systemd.Start(t.Context(), serviceUnit)); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); !isServed(t.Context(), filepath.Join(n.root, "run/image-cri-shim.sock")); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("the shim does not serve")
		}
	}
}

// install runs all steps of an installation.
func install(ctx context.Context, s *Service, files Files) (restarted bool, err error) {
	if err := s.InstallBinary(ctx); err != nil {
		return false, err
	}
	if _, err := s.Check(ctx, files); err != nil {
		return false, err
	}
	return s.Apply(ctx, files)
}

// killed reports whether f ended with errKilled.
func killed(f func()) (ended bool) {
	defer func() {
		if reason := recover(); reason != nil {
			if reason != errKilled {
				panic(reason)
			}
			ended = true
		}
	}()
	f()
	return false
}

// wantNoDrift requires that the node is as desired.
func wantNoDrift(t *testing.T, s *Service, files Files) {
	t.Helper()
	if drift, err := s.Drift(t.Context(), files); err != nil || len(drift) > 0 {
		t.Errorf("drift %q, %v; want none", drift, err)
	}
}

// wantDrift requires a difference that contains a text.
func wantDrift(t *testing.T, s *Service, files Files, want string) {
	t.Helper()
	drift, err := s.Drift(t.Context(), files)
	if err != nil || !strings.Contains(strings.Join(drift, "\n"), want) {
		t.Errorf("drift %q, %v; want %q", drift, err, want)
	}
}

// version returns the version of the running shim.
func (n *node) version(t *testing.T, s *Service) string {
	t.Helper()
	settings, err := config.Load(filepath.Join(n.root, config.DefaultFile))
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.status(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	return status.Version
}

// testRuntime answers Version and Status.
type testRuntime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	name string
}

func (r testRuntime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: r.name, RuntimeVersion: "v1", RuntimeApiVersion: "v1"}, nil
}

func (testRuntime) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{{Type: "RuntimeReady", Status: true}}}}, nil
}

func serveRuntime(t *testing.T, socket string) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(server, testRuntime{name: filepath.Base(socket)})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
}
