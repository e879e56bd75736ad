package proxy

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endless are the methods that a shutdown does not wait for.
type endless []string

func (e endless) has(method string) bool { return slices.Contains(e, method) }

// errEnding is what an endless call ends with then.
var errEnding = status.Error(codes.Unavailable, "the shim is ending: make the call again")

// lastCalls lets the grpc engine end its endless calls after all others.
type lastCalls struct {
	mutex   sync.Mutex
	others  int  // calls that run
	waiting bool // the endless ones are to end with them
	over    context.Context
	end     context.CancelFunc
}

func newLastCalls() *lastCalls {
	l := &lastCalls{}
	l.over, l.end = context.WithCancel(context.Background())
	return l
}

// count adds to the other calls.
func (l *lastCalls) count(calls int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.others += calls; l.others == 0 && l.waiting {
		l.end()
	}
}

// wait ends the endless calls, when there are no others.
func (l *lastCalls) wait() {
	l.mutex.Lock()
	l.waiting = true
	l.mutex.Unlock()
	l.count(0)
}

// run runs an endless call.
func (l *lastCalls) run(stream grpc.ServerStream, call func(grpc.ServerStream) error) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(l.over, cancel)()
	err := call(dismissable{stream, ctx})
	if l.over.Err() != nil && stream.Context().Err() == nil {
		return errEnding
	}
	return err
}

// dismissable is a stream that can be ended.
type dismissable struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (d dismissable) Context() context.Context { return d.ctx }
