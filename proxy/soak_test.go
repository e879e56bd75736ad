package proxy_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/proxytest"
)

// Environment variables of the soak test: the total number of calls, and the number of
// connections that stay open meanwhile.
const (
	soakCallsVariable       = "SOAK_CALLS"
	soakConnectionsVariable = "SOAK_CONNECTIONS"
)

const (
	soakCalls       = 20_000
	soakConnections = 200
	// soakGrowth bounds the growth of the heap in bytes. Ten bytes for each call would reach
	// it, and so would a quarter of a read buffer for each connection.
	soakGrowth = 200 << 10
)

// Many calls of intercepted and other methods over many connections leave no state in the frame
// engine, neither while the connections are open nor after they have closed.
func TestSoak(t *testing.T) {
	calls := fromEnvironment(t, soakCallsVariable, soakCalls)
	connections := fromEnvironment(t, soakConnectionsVariable, soakConnections)
	runtime := startRuntime(t)
	engine := runEngine(t, engineUnderTest{"frames", engineStarter(proxy.EngineFrames)},
		proxy.Options{Runtime: runtime.Socket(), Interceptors: echoing})
	engine.awaitRuntime(t)
	s := newFixture(t, runtime, engine.socket, engine.connections.Open)
	s.handle(echo)
	s.runtime.Handle(unaryMethod, echo)
	s.soak(connections, connections) // creates everything that is created once
	idle, closed := goleak.IgnoreCurrent(), heap()
	s.soak(connections, calls)
	awaitGoroutines(t, idle)
	s.expectHeap("with the connections closed", closed)
}

// soak makes calls over connections that are all open until the last call has ended.
func (s *fixture) soak(connections, calls uint64) {
	s.t.Helper()
	clients := make([]*grpc.ClientConn, connections)
	for at := range clients {
		client, err := proxytest.Dial(s.socket)
		if err != nil {
			s.t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		clients[at] = client
	}
	s.spread(clients, 4*connections)
	open := heap()
	s.spread(clients, calls)
	s.expectHeap("with the connections open", open)
	if got := s.clients(); got != int(connections) {
		s.t.Errorf("%d connections are open, want %d", got, connections)
	}
}

// spread makes calls over the connections in turn.
func (s *fixture) spread(clients []*grpc.ClientConn, calls uint64) {
	ctx := context.WithoutCancel(s.ctx) // it may take longer than testTimeout
	var next atomic.Uint64
	var calling sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		calling.Go(func() {
			for number := next.Add(1) - 1; number < calls && !s.t.Failed(); number = next.Add(1) - 1 {
				client := clients[number%uint64(len(clients))]
				name := []string{method, unaryMethod}[number/uint64(len(clients))%2]
				request := fmt.Sprint(number)
				response, err := proxytest.Invoke(ctx, client, name, []byte(request))
				if err != nil || string(response) != request {
					s.t.Errorf("call %d: %q, %v", number, response, err)
				}
			}
		})
	}
	calling.Wait()
}

// expectHeap waits until the heap has its former size.
func (s *fixture) expectHeap(when string, before uint64) {
	s.t.Helper()
	after := heap()
	for deadline := time.Now().Add(testTimeout); after > before+soakGrowth && time.Now().Before(deadline); {
		after = heap()
	}
	s.t.Logf("%s: heap %d KiB, then %d KiB; %d goroutines", when, before>>10, after>>10, runtime.NumGoroutine())
	if after > before+soakGrowth {
		s.t.Errorf("%s the heap has grown from %d to %d bytes", when, before, after)
	}
}

// heap returns the number of bytes in use after garbage collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // also frees the contents of pools
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}
