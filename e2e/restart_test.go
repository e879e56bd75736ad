package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// restarts is how often a shim or a runtime is restarted while clients use it.
const restarts = 20

// startActivated starts a node whose shim inherits its socket, as from systemd, and clients
// whose calls must all succeed.
func startActivated(t *testing.T, binary string) (n *node, all []*loadClient, stop func()) {
	t.Helper()
	n = newNodeWith(t, shared.embedded, testbed.ShimOptions{Binary: binary, Configuration: privateConfiguration(), Activated: true})
	all, stop = n.startLoad(t, func(err error) { t.Errorf("call failed: %v", err) })
	awaitAnswers(t, all)
	return n, all, stop
}

// restart ends the shim, which must exit cleanly, and starts it again.
func (n *node) restart(t *testing.T) {
	t.Helper()
	if err := n.shim.Stop(); err != nil {
		t.Errorf("the shim ended with: %v", err)
	}
	if err := n.shim.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// TestRestartsUnderLoad restarts the shim. No client's call may fail.
func TestRestartsUnderLoad(t *testing.T) {
	n, all, stop := startActivated(t, "")
	for range restarts {
		n.restart(t)
		awaitAnswers(t, all)
	}
	stop()
	answered, failed := totals(all)
	t.Logf("%d calls answered, %d failed", answered, failed)
}

// TestUpgradesUnderLoad replaces the binary before each restart, as dpkg and rpm do.
func TestUpgradesUnderLoad(t *testing.T) {
	folder := t.TempDir()
	next, err := testbed.BuildShim(testContext(t), folder, append(raceFlags, "-ldflags=-X image-cri-shim/version.Version=v99.0.0")...)
	if err != nil {
		t.Fatal(err)
	}
	builds := []string{shared.shim, next}
	binary := filepath.Join(folder, "installed")
	install := func(build string) {
		if err := os.Link(build, binary+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(binary+".new", binary); err != nil {
			t.Fatal(err)
		}
	}
	install(builds[0])
	n, all, stop := startActivated(t, binary)
	for number := range restarts {
		install(builds[(number+1)%len(builds)])
		n.restart(t)
		awaitAnswers(t, all)
	}
	stop()
	log, err := os.ReadFile(n.shim.Log())
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(log, []byte("v99.0.0")); got != restarts/2 {
		t.Errorf("the new build has started %d times, want %d", got, restarts/2)
	}
	answered, failed := totals(all)
	t.Logf("%d calls answered, %d failed", answered, failed)
}

// TestReloadsUnderLoad reloads the configuration 100 times, with other registries each time.
func TestReloadsUnderLoad(t *testing.T) {
	n, all, stop := startActivated(t, "")
	for number := range 100 {
		more := fmt.Sprintf("registries:\n- address: http://127.0.0.1:1\n  match: quay.io/number-%d\n", number)
		if err := n.shim.Configure(privateConfiguration() + more + engine()); err != nil {
			t.Fatal(err)
		}
		n.shim.Reload()
		eventually(t, func() string {
			log, err := os.ReadFile(n.shim.Log())
			if err == nil && bytes.Count(log, []byte("reloaded the configuration")) > number {
				return ""
			}
			return fmt.Sprintf("the configuration has not been reloaded: %v", err)
		})
	}
	awaitAnswers(t, all)
	stop()
	answered, failed := totals(all)
	t.Logf("%d calls answered, %d failed", answered, failed)
}

// TestKilledUnderLoad kills the shim. A client may lose the calls in progress on its two
// connections; it may use one of them before it notices that the connection has ended.
func TestKilledUnderLoad(t *testing.T) {
	const kills = 5
	n := newNodeWith(t, shared.embedded, testbed.ShimOptions{Configuration: privateConfiguration(), Activated: true})
	all, stop := n.startLoad(t, func(err error) {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("call failed with %v, want Unavailable", err)
		}
	})
	for range kills {
		awaitEachKind(t, all)
		n.shim.Kill()
		if err := n.shim.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	awaitAnswers(t, all)
	stop()
	for _, c := range all {
		if failed := c.failed.Load(); failed > 2*kills {
			t.Errorf("%d of a client's calls failed, want at most two for each of %d kills", failed, kills)
		}
	}
	answered, failed := totals(all)
	t.Logf("%d calls answered, %d failed", answered, failed)
}

// TestRuntimeRestartsUnderLoad kills containerd. Every call must get its answer or the error
// that the runtime is unavailable.
func TestRuntimeRestartsUnderLoad(t *testing.T) {
	runtime := needContainerd(t)
	n := newNode(t, runtime, privateConfiguration())
	all, stop := n.startLoad(t, func(err error) {
		// A starting containerd may return its own error, to which the shim appends its attempts.
		own, _, _ := strings.Cut(err.Error(), "; image-cri-shim")
		if status.Code(err) != codes.Unavailable && !strings.HasSuffix(own, testbed.NotInitialized) {
			t.Errorf("call failed with %v, want Unavailable", err)
		}
	})
	var longest time.Duration
	for range restarts {
		awaitAnswers(t, all)
		runtime.Kill()
		awaitMore(t, "refused", all, 1, func(c *loadClient) *atomic.Int64 { return &c.failed })
		if err := runtime.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		awaitMore(t, "answered", all, 1, func(c *loadClient) *atomic.Int64 { return &c.answered })
		longest = max(longest, time.Since(start))
	}
	awaitAnswers(t, all)
	stop()
	answered, failed := totals(all)
	t.Logf("%d calls answered, %d refused; all clients were answered within %v of the runtime's return", answered, failed, longest)
}

// TestPullDuringARestart requires that a stopping shim finishes its pulls, and that new
// clients wait for the next shim.
func TestPullDuringARestart(t *testing.T) {
	asked, goOn := make(chan struct{}, 1), make(chan struct{})
	registry := startFaultyRegistry(t, func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/blobs/") {
			select {
			case asked <- struct{}{}:
			default:
			}
			<-goOn
		}
		next.ServeHTTP(response, request)
	})
	image, err := testbed.SmallImage("of " + t.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Push(testContext(t), "library/nginx:1.25", image); err != nil {
		t.Fatal(err)
	}
	n := newNodeWith(t, shared.embedded, testbed.ShimOptions{Configuration: "address: " + registry.Address() + "\n", Activated: true})
	pulled, stopped, served := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "nginx:1.25"}, nil, nil)
		pulled <- err
	}()
	select {
	case <-asked:
	case <-testContext(t).Done():
		t.Fatal("the registry has received no request from the runtime")
	}
	go func() { stopped <- n.shim.Stop() }()
	eventually(t, func() string {
		if log, err := os.ReadFile(n.shim.Log()); err != nil || !bytes.Contains(log, []byte("stopping: draining running calls")) {
			return "the shim has not begun to stop"
		}
		return ""
	})
	go func() {
		client, err := testbed.Dial(testContext(t), n.shim.Socket()) // makes a call
		if err == nil {
			err = client.Close()
		}
		served <- err
	}()
	close(goOn)
	if err := errors.Join(<-pulled, <-stopped); err != nil {
		t.Errorf("the pull or the shim failed: %v", err)
	}
	if err := n.shim.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("a new client: %v", err)
	}
	n.wantStatus(t, "nginx:1.25", hash(t, image.ConfigName))
}
