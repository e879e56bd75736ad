package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// eventually polls problem until it returns "".
func eventually(t *testing.T, problem func() string) {
	t.Helper()
	eventuallyWithin(t, 20*time.Second, problem)
}

// eventuallyWithin polls problem until it returns "", for a limited time.
func eventuallyWithin(t *testing.T, limit time.Duration, problem func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		found := problem()
		if found == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(found)
		case <-ticker.C:
		}
	}
}

func TestRegistryStopped(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		id := n.pull(t, n.through, "nginx:1.25", nil)
		shared.private.Stop()
		t.Cleanup(func() { // restore it for the next test, even if this test fails
			shared.private.Stop()
			if err := shared.private.Start(testContext(t)); err != nil {
				t.Error(err)
			}
		})
		for _, name := range []string{"nginx:1.25", "docker.io/library/nginx:1.25", id} {
			n.wantStatus(t, name, id)
			// The best of several attempts counts, because the machine may be busy.
			if took := n.fastestStatus(t, name); took > 100*time.Millisecond {
				t.Errorf("status of %s took %v at best", name, took)
			}
		}
		want := shared.id(t, shared.upstream, "library/original:1")
		if got := n.pull(t, n.through, "original:1", callerLogin); got != want {
			t.Errorf("pulled image %s, want %s", got, want)
		}
		if err := shared.private.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		want = shared.id(t, shared.private, "library/nginx:latest")
		eventually(t, func() string {
			got, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "nginx:latest"}, nil, nil)
			if err != nil || got != want {
				return fmt.Sprintf("after the registry's return: got %s, %v, want %s", got, err, want)
			}
			return ""
		})
	})
}

func (n *node) fastestStatus(t *testing.T, name string) time.Duration {
	t.Helper()
	fastest := time.Hour
	for range 5 {
		start := time.Now()
		n.status(t, n.through, name)
		fastest = min(fastest, time.Since(start))
	}
	return fastest
}

func TestRuntimeEnds(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		for name, end := range runtimeEndings(runtime) {
			t.Run(name, func(t *testing.T) {
				n := newNode(t, runtime, privateConfiguration())
				id := n.pull(t, n.through, "nginx:1.25", nil)
				end()
				images := runtimeapi.NewImageServiceClient(n.through.Connection)
				request := &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}}
				if _, err := images.ImageStatus(testContext(t), request); status.Code(err) != codes.Unavailable {
					t.Errorf("without a runtime: got %v, want Unavailable", err)
				}
				if err := n.rawPull(t); status.Code(err) != codes.Unavailable {
					t.Errorf("pull without a runtime: got %v, want Unavailable", err)
				}
				n.wantKubeletFails(t)
				if err := runtime.Start(testContext(t)); err != nil {
					t.Fatal(err)
				}
				n.eventuallyServes(t)
				_ = dial(t, n.shim.Socket()) // like a kubelet that starts now
				n.wantStatus(t, "nginx:1.25", id)
				n.wantStatus(t, id, id)
				n.pull(t, n.through, "nginx", nil)
			})
		}
	})
}

// wantKubeletFails makes the first call of a kubelet that starts without a runtime. As
// without the shim, the call fails at once with an error that names the socket that does not
// answer. (The test uses gRPC directly, because cri-client leaks its connection after a
// failed call.)
func (n *node) wantKubeletFails(t *testing.T) {
	t.Helper()
	connection, err := grpc.NewClient("unix://"+n.shim.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	start := time.Now()
	_, err = runtimeapi.NewRuntimeServiceClient(connection).Version(testContext(t), &runtimeapi.VersionRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), n.runtime.Socket()) {
		t.Errorf("kubelet's start without a runtime: got %v, want Unavailable that names %s", err, n.runtime.Socket())
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("kubelet's start took %v to fail", took)
	}
}

func TestShimKilled(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		id := n.pull(t, n.through, "nginx:1.25", nil)
		n.shim.Kill()
		if err := n.shim.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		n.through = dial(t, n.shim.Socket())
		shared.private.ResetRequests() // after the restart the shim must not ask it for the names
		for _, name := range []string{"nginx:1.25", "docker.io/library/nginx:1.25", id} {
			n.wantStatus(t, name, id)
		}
		for _, image := range n.list(t, n.through) {
			if image.Id == id && (len(image.RepoTags) != 1 || image.RepoTags[0] != "docker.io/library/nginx:1.25") {
				t.Errorf("the list shows the tags %q", image.RepoTags)
			}
		}
		if requests := shared.private.Requests(); len(requests) > 0 {
			t.Errorf("the private registry received requests: %+v", requests)
		}
	})
}
