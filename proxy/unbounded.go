package proxy

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unboundedMethods are the methods with streams that don't end on their own, such as streams of
// events. A shutdown does not wait for their calls.
type unboundedMethods []string

func (u unboundedMethods) has(method string) bool { return slices.Contains(u, method) }

// errShuttingDown is the status of unbounded calls that a shutdown ends.
var errShuttingDown = status.Error(codes.Unavailable, "shim is shutting down: retry the call")

// unboundedCalls lets the grpc engine end its unbounded calls after all others.
type unboundedCalls struct {
	mutex    sync.Mutex
	bounded  int  // running calls that end on their own
	draining bool // the unbounded calls end with the last bounded one
	ctx      context.Context
	end      context.CancelFunc
}

func newUnboundedCalls() *unboundedCalls {
	u := &unboundedCalls{}
	u.ctx, u.end = context.WithCancel(context.Background())
	return u
}

// addBounded adds to the count of bounded calls.
func (u *unboundedCalls) addBounded(calls int) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	if u.bounded += calls; u.bounded == 0 && u.draining {
		u.end()
	}
}

// drain ends the unbounded calls once no bounded call runs.
func (u *unboundedCalls) drain() {
	u.mutex.Lock()
	u.draining = true
	u.mutex.Unlock()
	u.addBounded(0)
}

// run runs an unbounded call.
func (u *unboundedCalls) run(stream grpc.ServerStream, call func(grpc.ServerStream) error) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(u.ctx, cancel)()
	err := call(cancellableStream{stream, ctx})
	if u.ctx.Err() != nil && stream.Context().Err() == nil {
		return errShuttingDown
	}
	return err
}

// cancellableStream is a stream with a context that can be canceled.
type cancellableStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (c cancellableStream) Context() context.Context { return c.ctx }
