package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

const (
	// restarts is the number of restarts of a runtime or a proxy in use.
	restarts = 20
	// users is the number of clients that make calls without a pause.
	users = 4
)

// user makes one call after the other until it is stopped.
type user struct {
	socket     string
	connection *grpc.ClientConn // nil if each call has its own
	answered   atomic.Int64     // calls
	refused    atomic.Int64     // calls that have failed with Unavailable
}

func (u *user) call(ctx context.Context, number int) error {
	name := []string{method, unaryMethod}[number%2]
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	connection := u.connection
	if connection == nil {
		var err error
		if connection, err = proxytest.Dial(u.socket); err != nil {
			return err
		}
		defer func() { _ = connection.Close() }()
	}
	request := fmt.Sprint(number)
	response, err := proxytest.Invoke(ctx, connection, name, []byte(request))
	switch {
	case status.Code(err) == codes.Unavailable:
		u.refused.Add(1)
		return err
	case err != nil:
		return fmt.Errorf("call %d of %s: %w", number, name, err)
	case string(response) != request:
		return fmt.Errorf("call %d of %s: got %q", number, name, response)
	}
	u.answered.Add(1)
	return nil
}

// echoing returns interceptors that change nothing.
var echoing = intercept.Interceptors{Unary: map[string]intercept.Unary{
	unaryMethod: func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
		return invoke(ctx, unaryMethod, request)
	},
}}

// use lets users make calls until the returned function is called. failed is called with each
// error that they get instead of an answer.
func (s *fixture) use(failed func(error)) (all []*user, stop func()) {
	s.handle(echo)
	s.runtime.Handle(unaryMethod, echo)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	var calling sync.WaitGroup
	for number := range users {
		u := &user{socket: s.socket}
		if number%2 == 0 {
			u.connection = s.dial()
		}
		all = append(all, u)
		calling.Go(func() {
			for number := 0; ctx.Err() == nil; number++ {
				err := u.call(context.WithoutCancel(ctx), number)
				if err == nil {
					continue
				}
				failed(err)
				time.Sleep(time.Millisecond) // yields to the others
			}
		})
	}
	return all, func() {
		cancel()
		calling.Wait()
	}
}

// awaitMore waits until a counter of each user has grown by two, since the first call may have
// been in transit.
func awaitMore(t *testing.T, what string, all []*user, counter func(*user) *atomic.Int64) {
	t.Helper()
	for _, u := range all {
		before := counter(u).Load()
		eventually(t, what, func() bool { return counter(u).Load() >= before+2 })
	}
}

// When the runtime dies, clients in any state get their answer or Unavailable, and an answer
// soon after its return.
func TestRuntimeRestartsUnderLoad(t *testing.T) {
	forEachRunningEngine(t, proxy.Options{Interceptors: echoing}, func(t *testing.T, s *fixture, _ *runningEngine) {
		s.restarted = true
		all, stop := s.use(func(err error) {
			if status.Code(err) != codes.Unavailable {
				t.Error(err)
			}
		})
		defer stop()
		answered := func(u *user) *atomic.Int64 { return &u.answered }
		refused := func(u *user) *atomic.Int64 { return &u.refused }
		var longest time.Duration
		for range restarts {
			awaitMore(t, "all users are answered", all, answered)
			s.stopRuntime()
			awaitMore(t, "all users notice that the runtime is away", all, refused)
			s.startRuntime()
			start := time.Now()
			awaitMore(t, "all users notice the runtime's return", all, answered)
			longest = max(longest, time.Since(start))
		}
		t.Logf("all users were answered %v after the runtime's return at the latest", longest)
	})
}

// Clients do not notice a new proxy that replaces another one on the same listening socket, as
// in an update. This includes clients that are just connecting.
func TestReplacedUnderLoad(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		shared := listenShared(t)
		options := proxy.Options{Runtime: runtime.Socket(), Interceptors: echoing}
		current := runEngineOn(t, under, options, duplicate(t, shared))
		current.awaitRuntime(t)
		s := newFixture(t, runtime, current.socket, func() int { return current.connections.Open() })
		s.restarted = true
		var failed atomic.Int64
		all, stop := s.use(func(err error) {
			failed.Add(1)
			t.Error(err)
		})
		defer stop()
		for range restarts {
			next := runEngineOn(t, under, options, duplicate(t, shared))
			next.awaitRuntime(t)
			if err := current.Shutdown(s.ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			current = next
			awaitMore(t, "all users are answered", all, func(u *user) *atomic.Int64 { return &u.answered })
		}
		stop()
		var answered int64
		for _, u := range all {
			answered += u.answered.Load()
		}
		t.Logf("%d calls answered, %d failed", answered, failed.Load())
	})
}

// lateListener returns its first connection only when it is closed.
type lateListener struct {
	net.Listener
	accepted, closed chan struct{}
	once             sync.Once
}

func (l *lateListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err == nil {
		close(l.accepted)
		<-l.closed
	}
	return connection, err
}

func (l *lateListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// A client with a connection that is accepted during the shutdown makes its call to the next
// proxy.
func TestReplacedWhileAccepting(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		runtime.Handle(method, echo)
		shared := listenShared(t)
		options := proxy.Options{Runtime: runtime.Socket()}
		listener := &lateListener{Listener: duplicate(t, shared), accepted: make(chan struct{}), closed: make(chan struct{})}
		first := runEngineOn(t, under, options, listener)
		client, err := proxytest.Dial(first.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		defer cancel()
		result := make(chan error, 1)
		go func() {
			_, err := proxytest.Invoke(ctx, client, method, []byte("hi"))
			result <- err
		}()
		await(t, "the client is accepted", listener.accepted)
		runEngineOn(t, under, options, duplicate(t, shared))
		if err := first.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := await(t, "the call ends", result); err != nil {
			t.Errorf("the call: %v", err)
		}
	})
}

// listenShared opens a listening socket that several proxies may share.
func listenShared(t *testing.T) *net.UnixListener {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporarySocket(t), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// duplicate returns another listener on the same socket.
func duplicate(t *testing.T, shared *net.UnixListener) net.Listener {
	t.Helper()
	file, err := shared.File()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return listener
}
