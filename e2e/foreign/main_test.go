// Package foreign tests the shim with gRPC clients and servers other than grpc-go: grpcio
// (C-core), grpc-js, h2load, curl, h2spec and grpcurl. Each test makes the same calls
// directly and through both engines, and compares the results that the client sees. Tests
// of missing programs are skipped; e2e/install-components installs the programs.
package foreign

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"image-cri-shim/e2e/testbed"
)

const username, password = "shim", "canary:peers!31c8"

// shared is the state that all tests use.
var shared struct {
	folder   string
	shim     string // the built binary
	registry *testbed.Registry
}

func TestMain(m *testing.M) {
	// A program with the race detector sleeps a second at exit by default.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	_ = flag.Set("test.parallel", "4") // peers mostly wait for each other
	code, err := testWithComponents(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testWithComponents(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // includes compilation of the shim
	defer cancel()
	shared.folder, err = os.MkdirTemp("", "peers-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(shared.folder)) }()
	if shared.shim, err = testbed.BuildShim(ctx, shared.folder, raceFlags...); err != nil {
		return 1, err
	}
	if err := startRegistry(ctx); err != nil {
		return 1, err
	}
	defer shared.registry.Stop()
	return m.Run(), nil
}

// startRegistry starts the private registry. Only the names of its images matter, because the
// runtimes do not pull them.
func startRegistry(ctx context.Context) (err error) {
	shared.registry, err = testbed.StartRegistry(ctx, testbed.RegistryOptions{Folder: shared.folder + "/registry", Username: username, Password: password})
	if err != nil {
		return err
	}
	image, err := testbed.SmallImage("of the private registry")
	if err != nil {
		return err
	}
	for _, name := range []string{imageName, slowName, hangName} {
		if err := shared.registry.Push(ctx, "library/"+name, image); err != nil {
			return err
		}
	}
	return nil
}

// need skips a test if missing is not nil. Otherwise it returns name.
func need(t *testing.T, name string, missing error) string {
	t.Helper()
	if missing != nil {
		t.Skip("not available:", strings.TrimSpace(missing.Error()))
	}
	return name
}

// needCommand skips a test if a command is not installed.
func needCommand(t *testing.T, name string) string {
	t.Helper()
	_, err := exec.LookPath(name)
	return need(t, name, err)
}

// needPython returns Debian's Python, which has grpcio. The first Python in PATH may be another.
func needPython(t *testing.T) string {
	t.Helper()
	return need(t, "/usr/bin/python3", grpcioMissing())
}

var grpcioMissing = sync.OnceValue(func() error {
	if output, err := exec.Command("/usr/bin/python3", "-c", "import grpc").CombinedOutput(); err != nil {
		return fmt.Errorf("grpcio (python3-grpcio): %w: %s", err, output)
	}
	return nil
})

func needNode(t *testing.T) string {
	t.Helper()
	needCommand(t, "node")
	_, err := os.Stat("node/node_modules/@grpc/grpc-js/package.json")
	if err != nil {
		err = errors.New("grpc-js (npm ci in e2e/foreign/node)")
	}
	return need(t, "node", err)
}
