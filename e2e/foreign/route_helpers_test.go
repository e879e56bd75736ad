package foreign

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// runtimes are the gRPC libraries of the runtimes.
var runtimes = []string{"grpc-go", "grpcio", "grpc-js"}

// Paths to a runtime: directly, or through a shim with one of its engines.
const (
	direct       = "direct"
	framesEngine = "frames"
	grpcEngine   = "grpc"
)

var paths = []string{direct, framesEngine, grpcEngine}

// engines are the paths through a shim.
var engines = []string{framesEngine, grpcEngine}

// route is a runtime and the path to it.
type route struct {
	path    string   // direct, or an engine
	socket  string   // for clients
	runtime string   // socket of the runtime
	process *process // the runtime; nil if it is in this process
	shim    *testbed.Shim
}

// newRoute starts a runtime and, unless the path is direct, a shim in front of it. A runtime
// that is called directly has the image under its original name. A runtime behind a shim
// has it under the private registry's name, from which the shim has pulled it.
func newRoute(t *testing.T, library, path string, s script) *route {
	t.Helper()
	// t.TempDir contains the test's name, which can make a socket's path too long.
	folder, err := os.MkdirTemp("", "peers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	r := &route{path: path, runtime: filepath.Join(folder, "runtime.sock")}
	r.socket = r.runtime
	registry := "docker.io"
	if path != direct {
		registry = shared.registry.Host()
	}
	s.Socket, s.Rules = r.runtime, append(peerRules(), criRules(registry)...)
	r.startRuntime(t, library, s)
	if path != direct {
		r.startShim(t, filepath.Join(folder, "shim"), path)
	}
	return r
}

func (r *route) startRuntime(t *testing.T, library string, s script) {
	t.Helper()
	switch library {
	case "grpc-go":
		startGoRuntime(t, s)
	case "grpcio":
		r.process = startProcess(t, needPython(t), "python/runtime.py", writeJSON(t, s))
	case "grpc-js":
		r.process = startProcess(t, needNode(t), "node/runtime.js", writeJSON(t, s))
	}
}

// startShim starts a shim and pulls the image through it.
func (r *route) startShim(t *testing.T, folder, engine string) {
	t.Helper()
	shim, err := testbed.StartShim(testContext(t), testbed.ShimOptions{
		Binary: shared.shim, Folder: folder, Runtime: r.runtime,
		Configuration: "address: " + shared.registry.Address() + "\nauth: \"" + username + ":" + password + "\"\ndebug: true\nengine: " + engine + "\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.shim, r.socket = shim, shim.Socket()
	t.Cleanup(func() { r.stopShim(t) })
	if _, err := invoke(testContext(t), shim.Socket(), methodPull, pullRequest(imageName)); err != nil {
		t.Fatalf("pull %s: %v", imageName, err)
	}
}

// stopShim ends the shim, which must exit cleanly.
func (r *route) stopShim(t *testing.T) {
	if err := r.shim.Stop(); err != nil {
		t.Errorf("the shim ended with: %v", err)
	}
	log, err := os.ReadFile(r.shim.Log())
	if err != nil {
		t.Error(err)
	}
	for _, problem := range []string{"DATA RACE", "panic"} {
		if bytes.Contains(log, []byte(problem)) {
			t.Errorf("the shim's log contains %q", problem)
		}
	}
	if t.Failed() {
		t.Logf("end of the shim's log:\n%s", log[max(0, len(log)-4096):])
	}
}

// report requests the runtime's report about its calls.
func (r *route) report(t *testing.T) report {
	t.Helper()
	encoded, err := invoke(testContext(t), r.runtime, methodReport, nil)
	if err != nil {
		t.Fatalf("request a report from the runtime: %v", err)
	}
	var answer report
	if err := json.Unmarshal(encoded, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// wantIdle waits until the runtime has no open calls and no half-closed streams. The client
// of the grpc engine may leave half-closed streams: if the status arrives while grpc-go has
// the end of the request queued, it drops the end and sends no RST_STREAM.
func (r *route) wantIdle(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		report := r.report(t)
		switch {
		case report.Open > 0:
			return "calls that have ended for the client are still open in the runtime"
		case report.HalfClosed > 0 && r.path != grpcEngine:
			return "streams of calls that have ended are half-closed in the runtime"
		}
		return ""
	})
}
