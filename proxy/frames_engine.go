package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"image-cri-shim/proxy/frames"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/unixsocket"
)

// framesEngine relays each client connection over its own connection to the runtime, and
// intercepts the calls that have an interceptor.
type framesEngine struct {
	socket       string // the runtime's socket
	interceptors intercept.Interceptors
	observer     Observer
	unbounded    unboundedMethods
	client       *frames.Client // for calls of interceptors and Invoke
	unavailable  *unavailableServer
	lifetime     context.Context
	end          context.CancelFunc
	serving      sync.WaitGroup // listeners and connections

	mutex        sync.Mutex
	listeners    []net.Listener
	relays       map[*frames.Relay]struct{}
	shuttingDown bool
}

func newFramesEngine(options Options) *framesEngine {
	e := &framesEngine{
		socket:       options.Runtime,
		interceptors: options.Interceptors,
		observer:     options.Observer,
		unbounded:    options.Unbounded,
		unavailable:  newUnavailableServer(options),
		relays:       map[*frames.Relay]struct{}{},
	}
	e.lifetime, e.end = context.WithCancel(context.Background())
	e.client = frames.NewClient(e.dial)
	return e
}

// dialTimeout bounds the time that the runtime may take to accept a connection.
const dialTimeout = 5 * time.Second

func (e *framesEngine) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", e.socket)
}

func (e *framesEngine) waitForRuntime(ctx context.Context) error { return e.client.Connect(ctx) }

func (e *framesEngine) serve(listener net.Listener) error {
	if !e.addListener(listener) {
		return listener.Close()
	}
	defer e.serving.Done()
	for pause := time.Duration(0); ; {
		connection, err := listener.Accept()
		if err == nil {
			pause = 0
			e.serving.Go(func() { e.serveClient(connection) }) // also during a shutdown, since the client is connected
			continue
		}
		if e.isShuttingDown() {
			return nil
		}
		// Retry temporary errors, such as too many open files.
		if temporary, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err); !ok || !temporary.Temporary() {
			return errors.Join(err, listener.Close())
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-e.lifetime.Done():
		}
	}
}

// addListener adds a listener. It reports false if the engine is shutting down.
func (e *framesEngine) addListener(listener net.Listener) bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if !e.shuttingDown {
		e.listeners = append(e.listeners, listener)
		e.serving.Add(1)
	}
	return !e.shuttingDown
}

func (e *framesEngine) isShuttingDown() bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.shuttingDown
}

// serveClient serves one client until its connection ends.
func (e *framesEngine) serveClient(client net.Conn) {
	runtime, err := e.dial(e.lifetime)
	if err != nil {
		e.unavailable.answer(client)
		return
	}
	peer, _ := unixsocket.PeerOf(client) // UnknownPeer on an error
	relay := frames.NewRelay(client, runtime, clientConnection{e, peer}.route)
	e.mutex.Lock()
	shuttingDown := e.shuttingDown
	e.relays[relay] = struct{}{}
	e.mutex.Unlock()
	if shuttingDown { // the client was accepted before the shutdown
		relay.Drain()
		relay.CloseStreaming()
	}
	defer context.AfterFunc(e.lifetime, relay.Close)()
	_ = relay.Run() // the error only says how the connection ended
	e.mutex.Lock()
	delete(e.relays, relay)
	e.mutex.Unlock()
}

// stop closes the listeners and returns the open connections.
func (e *framesEngine) stop() []*frames.Relay {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.shuttingDown = true
	for _, listener := range e.listeners {
		_ = listener.Close()
	}
	e.listeners = nil
	relays := make([]*frames.Relay, 0, len(e.relays))
	for relay := range e.relays {
		relays = append(relays, relay)
	}
	return relays
}

func (e *framesEngine) shutdown(ctx context.Context) error {
	relays := e.stop()
	for _, relay := range relays {
		relay.Drain()
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		e.unavailable.shutdown(ctx)
		for _, relay := range relays {
			<-relay.Drained()
		}
		for _, relay := range relays {
			relay.CloseStreaming()
		}
		e.serving.Wait()
	}()
	select {
	case <-drained:
		return e.close()
	case <-ctx.Done():
		err := errors.Join(ctx.Err(), e.close())
		<-drained
		return err
	}
}

func (e *framesEngine) close() error {
	e.stop()
	e.end() // closes the connections
	err := errors.Join(e.unavailable.close(), e.client.Close())
	e.serving.Wait()
	return err
}
