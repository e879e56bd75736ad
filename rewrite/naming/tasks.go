package naming

import (
	"context"
	"sync"
)

// tasks are the goroutines that a namer has started. They end when their owner's
// context is done. The zero value is ready to use.
type tasks struct {
	mutex   sync.Mutex
	ended   bool
	running sync.WaitGroup
	context context.Context
	cancel  context.CancelFunc
}

// start runs work in a goroutine of its own, with the values of ctx and until wait is
// called. After that it does nothing, and reports false.
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

// run is start for work that has to be done in any case: after wait it is done before run
// returns.
func (t *tasks) run(ctx context.Context, work func(context.Context)) {
	if !t.start(ctx, work) {
		work(ctx)
	}
}

// wait ends the goroutines and returns when they have ended.
func (t *tasks) wait() {
	t.mutex.Lock()
	t.ended = true
	if t.cancel != nil {
		t.cancel()
	}
	t.mutex.Unlock()
	t.running.Wait()
}
