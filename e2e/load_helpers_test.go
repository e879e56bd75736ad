package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// loadClients is the number of clients that make calls without pause.
const loadClients = 4

// loadClient makes one call after the other, alternating between all kinds, with kubelet's code.
type loadClient struct {
	client           *testbed.Client
	answered, failed atomic.Int64
}

// loadCalls are the kinds of calls of a loadClient.
var loadCalls = []func(context.Context, *testbed.Client) error{
	func(ctx context.Context, c *testbed.Client) error {
		_, err := c.Runtime.Version(ctx, "")
		return err
	},
	func(ctx context.Context, c *testbed.Client) error {
		// With credentials for the original: a starting containerd 1.6 fails pulls with another
		// code than Unavailable, and the shim then pulls from the original.
		_, err := c.Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: "nginx:1.25"}, callerLogin, nil)
		return err
	},
	func(ctx context.Context, c *testbed.Client) error {
		_, err := c.Images.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: "nginx:1.25"}, false)
		return err
	},
	func(ctx context.Context, c *testbed.Client) error {
		_, err := c.Images.ListImages(ctx, nil)
		return err
	},
	func(ctx context.Context, c *testbed.Client) error {
		_, err := c.Runtime.Status(ctx, false)
		return err
	},
}

// startLoad starts clients of the shim.
func (n *node) startLoad(t *testing.T, failed func(error)) (all []*loadClient, stop func()) {
	t.Helper()
	return startLoad(t, n.shim.Socket(), failed)
}

// startLoad starts clients that call until the test ends or stop is called. failed is
// called with each error.
func startLoad(t *testing.T, socket string, failed func(error)) (all []*loadClient, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var calling sync.WaitGroup
	for range loadClients {
		c := &loadClient{client: dial(t, socket)}
		all = append(all, c)
		calling.Go(func() {
			for number := 0; ctx.Err() == nil; number++ {
				// A call that takes longer hangs.
				limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
				err := loadCalls[number%len(loadCalls)](limited, c.client)
				cancel()
				if err == nil {
					c.answered.Add(1)
					continue
				}
				c.failed.Add(1)
				failed(err)
				time.Sleep(time.Millisecond) // leave CPU time to the other processes
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		calling.Wait()
	})
	t.Cleanup(stop)
	return all, stop
}

// awaitAnswers waits for two answers to each client. The first call may have started earlier.
func awaitAnswers(t *testing.T, all []*loadClient) {
	t.Helper()
	awaitMore(t, "answered", all, 2, func(c *loadClient) *atomic.Int64 { return &c.answered })
}

// awaitEachKind waits for an answer of each kind to each client. The client is then
// connected to both services.
func awaitEachKind(t *testing.T, all []*loadClient) {
	t.Helper()
	awaitMore(t, "answered", all, int64(len(loadCalls)+1), func(c *loadClient) *atomic.Int64 { return &c.answered })
}

func awaitMore(t *testing.T, what string, all []*loadClient, more int64, counter func(*loadClient) *atomic.Int64) {
	t.Helper()
	want := make([]int64, len(all))
	for i, c := range all {
		want[i] = counter(c).Load() + more
	}
	eventually(t, func() string {
		for i, c := range all {
			if counter(c).Load() < want[i] {
				return "a client has too few calls that were " + what
			}
		}
		return ""
	})
}

// totals returns the calls of all clients.
func totals(all []*loadClient) (answered, failed int64) {
	for _, c := range all {
		answered += c.answered.Load()
		failed += c.failed.Load()
	}
	return answered, failed
}
