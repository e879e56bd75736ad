package proxy_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/proxytest"
)

const (
	// method is the method that most tests call.
	method = "/conformance.v1.Service/Method"
	// testTimeout bounds each wait of a test.
	testTimeout = 20 * time.Second
)

// fixture is a runtime, the socket that clients dial, and the clients of one test. None of its
// calls and connections may remain when the test ends.
type fixture struct {
	t       *testing.T
	ctx     context.Context // without a deadline, but cancelled after testTimeout
	runtime *proxytest.Runtime
	socket  string
	clients func() int // open client connections
	dialled []*grpc.ClientConn
	// restarted reports that connections to the runtime are no longer the first ones.
	restarted bool
}

func newFixture(t *testing.T, runtime *proxytest.Runtime, socket string, clients func() int) *fixture {
	ctx, cancel := context.WithCancel(t.Context())
	watchdog := time.AfterFunc(testTimeout, cancel)
	s := &fixture{t: t, ctx: ctx, runtime: runtime, socket: socket, clients: clients}
	s.warmUp()
	idle := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		watchdog.Stop()
		cancel()
		s.leave(idle)
	})
	return s
}

// warmUp makes a call, so that all permanent connections exist.
func (s *fixture) warmUp() {
	s.t.Helper()
	connection, err := proxytest.Dial(s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = proxytest.Invoke(s.ctx, connection, "/no/such", nil)
	if status.Code(err) != codes.Unimplemented {
		s.t.Errorf("the first call ended with %v, want Unimplemented", err)
	}
	_ = connection.Close()
	eventually(s.t, "the first client has gone", func() bool { return s.clients() == 0 })
}

// leave closes the clients and checks that the idle engine is as before.
func (s *fixture) leave(idle goleak.Option) {
	for _, connection := range s.dialled {
		_ = connection.Close()
	}
	eventually(s.t, "the runtime has no call left", func() bool { return s.runtime.Calls() == 0 })
	eventually(s.t, "no client connection is left", func() bool { return s.clients() == 0 })
	if !s.restarted {
		awaitGoroutines(s.t, idle)
	}
}

// dial connects a client until the test ends.
func (s *fixture) dial(options ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	connection, err := proxytest.Dial(s.socket, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.dialled = append(s.dialled, connection)
	return connection
}

// client returns the first client of the fixture.
func (s *fixture) client() *grpc.ClientConn {
	s.t.Helper()
	if len(s.dialled) == 0 {
		return s.dial()
	}
	return s.dialled[0]
}

// handle sets the handler of method.
func (s *fixture) handle(handler proxytest.Handler) { s.runtime.Handle(method, handler) }

// invoke makes a unary call of method.
func (s *fixture) invoke(ctx context.Context, request []byte, options ...grpc.CallOption) ([]byte, error) {
	s.t.Helper()
	return proxytest.Invoke(ctx, s.client(), method, request, options...)
}

// open starts a streaming call of method.
func (s *fixture) open(ctx context.Context, options ...grpc.CallOption) *call {
	s.t.Helper()
	stream, err := proxytest.Open(ctx, s.client(), method, options...)
	if err != nil {
		s.t.Fatalf("open the stream: %v", err)
	}
	return &call{ClientStream: stream, t: s.t}
}

// call is a client's stream in a test. An error ends the test's goroutine.
type call struct {
	grpc.ClientStream
	t *testing.T
}

func (c *call) send(message []byte) {
	c.t.Helper()
	if err := proxytest.Send(c, message); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *call) closeSend() {
	c.t.Helper()
	if err := c.CloseSend(); err != nil {
		c.t.Fatalf("close the sending side: %v", err)
	}
}

func (c *call) expect(want string) {
	c.t.Helper()
	got, err := proxytest.Receive(c)
	if err != nil {
		c.t.Fatalf("receive: %v, want the message %q", err, want)
	}
	if string(got) != want {
		c.t.Fatalf("received %q, want %q", got, want)
	}
}

// expectEnd checks that the call ends without an error after its last message.
func (c *call) expectEnd() {
	c.t.Helper()
	if message, err := proxytest.Receive(c); !errors.Is(err, io.EOF) {
		c.t.Fatalf("received %d bytes and error %v, want the end of the stream", len(message), err)
	}
}

// startRuntime runs a fake runtime until the test ends. By then, all connections and goroutines
// must have ended.
func startRuntime(t *testing.T, options ...grpc.ServerOption) *proxytest.Runtime {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { awaitGoroutines(t, before) })
	runtime := proxytest.NewRuntime(temporarySocket(t), options...)
	if err := runtime.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the runtime has no connection", func() bool { return runtime.Connections() == 0 })
		if err := runtime.Stop(); err != nil {
			t.Errorf("stop the runtime: %v", err)
		}
	})
	return runtime
}

// temporarySocket returns a path short enough for a unix socket (108 bytes). A path under
// t.TempDir is too long in a test with a long name.
func temporarySocket(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return filepath.Join(folder, "test.sock")
}

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", testTimeout, what)
		}
	}
}

// await returns the next value of the channel.
func await[T any](t *testing.T, what string, channel <-chan T) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(testTimeout):
		t.Fatalf("not after %v: %s", testTimeout, what)
		var none T
		return none
	}
}

// awaitGoroutines waits until only known goroutines are left.
func awaitGoroutines(t *testing.T, known goleak.Option) {
	t.Helper()
	err := goleak.Find(known)
	for deadline := time.Now().Add(testTimeout / 4); err != nil && time.Now().Before(deadline); {
		err = goleak.Find(known)
	}
	if err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}
