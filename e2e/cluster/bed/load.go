package bed

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// Load is a client that makes one CRI call after the other, with kubelet's code.
type Load struct {
	client   *testbed.Client
	cancel   context.CancelFunc
	calling  sync.WaitGroup
	answered atomic.Int64

	mutex    sync.Mutex
	failures []error
}

// StartLoad connects to a socket of the node and calls until [Load.Stop]. It pulls image each
// time.
func (n *Node) StartLoad(ctx context.Context, socket, image string) (*Load, error) {
	client, err := testbed.Dial(ctx, n.Path(socket))
	if err != nil {
		return nil, err
	}
	l := &Load{client: client}
	ctx, l.cancel = context.WithCancel(ctx)
	l.calling.Go(func() { l.run(ctx, image) })
	return l, nil
}

func (l *Load) run(ctx context.Context, image string) {
	spec := &runtimeapi.ImageSpec{Image: image}
	calls := []struct {
		method string
		call   func(context.Context) error
	}{
		{"Version", func(ctx context.Context) error { _, err := l.client.Runtime.Version(ctx, ""); return err }},
		{"Status", func(ctx context.Context) error { _, err := l.client.Runtime.Status(ctx, false); return err }},
		{"ListPodSandbox", func(ctx context.Context) error { _, err := l.client.Runtime.ListPodSandbox(ctx, nil); return err }},
		{"ListContainers", func(ctx context.Context) error { _, err := l.client.Runtime.ListContainers(ctx, nil); return err }},
		{"ListImages", func(ctx context.Context) error { _, err := l.client.Images.ListImages(ctx, nil); return err }},
		{"ImageStatus", func(ctx context.Context) error { _, err := l.client.Images.ImageStatus(ctx, spec, false); return err }},
		{"PullImage", func(ctx context.Context) error { _, err := l.client.Images.PullImage(ctx, spec, nil, nil); return err }},
	}
	for number := 0; ctx.Err() == nil; number++ {
		next := calls[number%len(calls)]
		// A call that takes longer hangs. The end of ctx interrupts no call.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		err := next.call(limited)
		cancel()
		if err == nil {
			l.answered.Add(1)
			continue
		}
		l.mutex.Lock()
		l.failures = append(l.failures, fmt.Errorf("%s: %w", next.method, err))
		l.mutex.Unlock()
	}
}

// Answered returns the number of calls that have succeeded.
func (l *Load) Answered() int64 { return l.answered.Load() }

// Stop ends the calls and returns their errors.
func (l *Load) Stop() []error {
	l.cancel()
	l.calling.Wait()
	_ = l.client.Close()
	return l.failures
}
