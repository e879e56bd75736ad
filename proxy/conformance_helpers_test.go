// The conformance suite requires a proxy engine to behave like a direct connection to the
// runtime. Therefore every test also runs against a direct connection, which must pass it.
package proxy_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/proxytest"
	"image-cri-shim/unixsocket"
)

// engine is a proxy between two sockets.
type engine interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
	WaitForRuntime(context.Context) error
	Invoke(ctx context.Context, method string, request []byte) ([]byte, error)
}

type engineUnderTest struct {
	name  string
	start func(proxy.Options) (engine, error)
}

var engines = []engineUnderTest{
	{"grpc", engineStarter(proxy.EngineGRPC)},
	{"frames", engineStarter(proxy.EngineFrames)},
}

func engineStarter(name proxy.Engine) func(proxy.Options) (engine, error) {
	return func(options proxy.Options) (engine, error) {
		options.Engine = name
		return proxy.New(options)
	}
}

// forEachTarget runs a test that a direct connection and every engine must pass.
func forEachTarget(t *testing.T, check func(*testing.T, *fixture)) {
	t.Run("direct", func(t *testing.T) {
		runtime := startRuntime(t)
		check(t, newFixture(t, runtime, runtime.Socket(), runtime.Connections))
	})
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket()})
		engine.awaitRuntime(t)
		check(t, newFixture(t, runtime, engine.socket, engine.connections.Open))
	})
}

// forEachEngine runs a test of behavior that only a proxy has.
func forEachEngine(t *testing.T, check func(*testing.T, engineUnderTest)) {
	for _, under := range engines {
		t.Run(under.name, func(t *testing.T) { check(t, under) })
	}
}

// runningEngine is an engine that serves a socket.
type runningEngine struct {
	engine
	socket      string
	connections *proxytest.Counter
	served      chan error // result of Serve
}

// runEngine runs an engine until the test ends, on a socket of its own.
func runEngine(t *testing.T, under engineUnderTest, options proxy.Options) *runningEngine {
	t.Helper()
	listener, err := unixsocket.Listen(t.Context(), temporarySocket(t), options.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	return runEngineOn(t, under, options, listener)
}

// runEngineOn is runEngine for an existing socket.
func runEngineOn(t *testing.T, under engineUnderTest, options proxy.Options, listener net.Listener) *runningEngine {
	t.Helper()
	f := &runningEngine{
		socket:      listener.Addr().String(),
		connections: new(proxytest.Counter),
		served:      make(chan error, 1),
	}
	var err error
	if f.engine, err = under.start(options); err != nil {
		t.Fatal(err)
	}
	go func() { f.served <- f.Serve(f.connections.Listener(listener)) }()
	t.Cleanup(func() {
		closed := make(chan error, 1)
		go func() { closed <- f.Close() }()
		await(t, "Close returns", closed) // not an error if the test has ended the engine
		if err := await(t, "Serve returns", f.served); err != nil {
			t.Errorf("Serve: %v", err)
		}
		eventually(t, "the proxy has closed its clients' connections", func() bool { return f.connections.Open() == 0 })
	})
	return f
}

// awaitRuntime returns when the runtime serves the connection for the calls of interceptors,
// with all of its goroutines.
func (f *runningEngine) awaitRuntime(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := f.WaitForRuntime(ctx); err != nil {
		t.Fatalf("WaitForRuntime: %v", err)
	}
	if _, err := f.Invoke(ctx, "/no/such", nil); status.Code(err) != codes.Unimplemented {
		t.Fatalf("the first call ended with %v, want Unimplemented", err)
	}
}
