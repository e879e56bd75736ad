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

// users are clients that call all the time, with the code that kubelet uses.
const users = 4

// user makes one call after the other, of each kind in turn.
type user struct {
	client           *testbed.Client
	answered, failed atomic.Int64
}

// kinds are the calls of a user.
var kinds = []func(context.Context, *testbed.Client) error{
	func(ctx context.Context, c *testbed.Client) error {
		_, err := c.Runtime.Version(ctx, "")
		return err
	},
	func(ctx context.Context, c *testbed.Client) error {
		// With credentials for the original: containerd 1.6 does not say Unavailable while
		// it starts, and a pull that hears it goes on to there.
		_, err := c.Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: "nginx:1.25"}, callers, nil)
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

// use lets users call through the shim, as the function use does.
func (n *node) use(t *testing.T, failed func(error)) (all []*user, stop func()) {
	t.Helper()
	return use(t, n.shim.Socket(), failed)
}

// use lets users call until the test ends or stop is called. failed is told of what
// they get instead of an answer.
func use(t *testing.T, socket string, failed func(error)) (all []*user, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var calling sync.WaitGroup
	for range users {
		u := &user{client: dial(t, socket)}
		all = append(all, u)
		calling.Go(func() {
			for number := 0; ctx.Err() == nil; number++ {
				// It hangs if this is over.
				limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
				err := kinds[number%len(kinds)](limited, u.client)
				cancel()
				if err == nil {
					u.answered.Add(1)
					continue
				}
				u.failed.Add(1)
				failed(err)
				time.Sleep(time.Millisecond) // leaves the machine to the others
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

// awaitAnswers waits until each user has got two answers: the first may have been on
// its way.
func awaitAnswers(t *testing.T, all []*user) {
	t.Helper()
	awaitMore(t, "answered", all, 2, func(u *user) *atomic.Int64 { return &u.answered })
}

// awaitEachKind waits until each user has got an answer of each kind, and so is
// connected to both services.
func awaitEachKind(t *testing.T, all []*user) {
	t.Helper()
	awaitMore(t, "answered", all, int64(len(kinds)+1), func(u *user) *atomic.Int64 { return &u.answered })
}

func awaitMore(t *testing.T, what string, all []*user, more int64, counter func(*user) *atomic.Int64) {
	t.Helper()
	want := make([]int64, len(all))
	for i, u := range all {
		want[i] = counter(u).Load() + more
	}
	eventually(t, func() string {
		for i, u := range all {
			if counter(u).Load() < want[i] {
				return "a user's calls are never " + what
			}
		}
		return ""
	})
}

// totals are the calls of all users.
func totals(all []*user) (answered, failed int64) {
	for _, u := range all {
		answered += u.answered.Load()
		failed += u.failed.Load()
	}
	return answered, failed
}
