package naming

import (
	"context"
	"sync"
)

// tasks are the goroutines that a namer has started. wait cancels their contexts. The zero
// value is ready to use.
type tasks struct {
	mutex   sync.Mutex
	ended   bool
	running sync.WaitGroup
	context context.Context
	cancel  context.CancelFunc
}

// start runs work in a new goroutine. The context of work has the values of ctx and is
// cancelled by wait. After wait, start does nothing and returns false.
func (t *tasks) start(ctx context.Context, work func(context.Context)) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.ended {
		return false
	}
	if t.context == nil {
		t.context, t.cancel = context.WithCancel(context.Background())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(t.context, cancel)
	t.running.Go(func() {
		defer cancel()
		defer stop()
		work(ctx)
	})
	return true
}

// run is like start, but calls work itself after wait.
func (t *tasks) run(ctx context.Context, work func(context.Context)) {
	if !t.start(ctx, work) {
		work(ctx)
	}
}

// wait cancels the goroutines and waits until they have ended.
func (t *tasks) wait() {
	t.mutex.Lock()
	t.ended = true
	if t.cancel != nil {
		t.cancel()
	}
	t.mutex.Unlock()
	t.running.Wait()
}
