package daemon

import (
	"io"
	"testing"
	"time"

	"image-cri-shim/proxy"
	"image-cri-shim/trace"
	"image-cri-shim/unixsocket"
)

// newIdleObservers returns observers without metrics, page and trace, and a finished call.
func newIdleObservers() (*observers, *proxy.Call) {
	o := &observers{log: newLogger(io.Discard, false), runtime: newRuntimeMonitor(), trace: trace.NewHub(trace.Options{})}
	call := &proxy.Call{Method: "/runtime.v1.RuntimeService/ListContainers", Client: unixsocket.Peer{Process: 1}, Start: time.Now(), Duration: time.Millisecond}
	o.clients.add(call.Client, 1)
	return o, call
}

// TestIdleObserversAllocateNothing requires that a call costs no memory while metrics, page and
// trace are off.
func TestIdleObserversAllocateNothing(t *testing.T) {
	o, call := newIdleObservers()
	if allocated := testing.AllocsPerRun(100, func() {
		o.Begin(call)
		o.End(call)
	}); allocated > 0 {
		t.Errorf("a call allocates memory %v times", allocated)
	}
}

func BenchmarkIdleObservers(b *testing.B) {
	o, call := newIdleObservers()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o.Begin(call)
			o.End(call)
		}
	})
}
