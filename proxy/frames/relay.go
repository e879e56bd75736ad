package frames

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// ErrServerDisconnected is the error of a connection that the server closed, and the cause
// ([context.Cause]) of a handler's context that ends with it or with Close.
var ErrServerDisconnected = errors.New("server closed the connection")

// streamLimit is the maximum number of concurrent streams of one connection. The relay resets
// further streams with REFUSED_STREAM, which lets the client retry.
const streamLimit = 10_000

// Relay joins a connection from a client with a connection to the server.
type Relay struct {
	client, server net.Conn
	route          Route
	handlerContext context.Context // parent of the handlers' contexts
	cancelHandlers context.CancelCauseFunc
	handlers       sync.WaitGroup

	clientWriter clientWriter
	serverWriter serverWriter

	// Values of the SETTINGS of the client and the server.
	clientTable      tableLimit
	serverTable      tableLimit
	serverMaxFrame   atomic.Uint32 // longest frame that the relay itself sends to the server
	serverFrameLimit atomic.Uint32 // longest frame that the client may send
	clientListLimit  atomic.Uint32 // longest header list that the client accepts, in bytes

	serverSettingsSent atomic.Bool // the server's SETTINGS, its first frame, are written to the client

	mutex   sync.Mutex // guards the fields below, the streams and the exchanges
	changed *sync.Cond // signals changes of the fields below
	phase   phase
	failure error // the reason for the end of the connection; nil while it is open

	relayed           map[uint32]*stream       // relayed requests
	sendingQueues     int                      // number of running sendQueue goroutines
	intercepted       map[uint32]*interception // intercepted requests
	maxInterceptedID  uint32                   // highest stream identifier of an intercepted request
	maxClientStreamID uint32                   // highest stream identifier that the client has used
	lastStreamID      uint32                   // last stream identifier of GOAWAY; later requests are not accepted
	buffered          int                      // bytes of requests and answers in memory

	serverGoAway bool // the server has sent GOAWAY
	serverClosed bool // the server has closed its connection, and the client's stays open

	flow           flow
	clientSettings clientSettings
	credit         serverCredit
	control        controlQueue
	pings          pingState
	drain          drainState
}

// phase is the protocol of a connection, as far as it is known.
type phase int

const (
	opening phase = iota // the protocol is not known yet
	framed               // HTTP/2
	raw                  // another protocol
)

// stream is the stream of a relayed request. It is guarded by Relay.mutex.
type stream struct {
	id                     uint32
	plan                   Plan         // its Ended is nil once it has been called
	clientDone, serverDone bool         // the client has ended the request; the server has ended the answer
	restoration            *restoration // nil if the answer is forwarded unchanged
	window                 relayWindow  // window of the answer

	queue     []segment           // part of the answer that a goroutine sends
	sending   bool                // the goroutine runs
	endQueued bool                // the end of the answer is queued
	closed    bool                // the stream was reset, or the connection ended
	trailer   []hpack.HeaderField // header block that ends a queued answer
	ended     func(Outcome)       // the plan's Ended while the end of a queued answer is written
}

// NewRelay returns a relay for two connections, which the relay closes. If route is nil, it
// relays all requests.
func NewRelay(client, server net.Conn, route Route) *Relay {
	r := &Relay{
		client:       client,
		server:       server,
		route:        route,
		relayed:      map[uint32]*stream{},
		intercepted:  map[uint32]*interception{},
		lastStreamID: streamMask,
		flow:         newFlow(),
		drain:        drainState{done: make(chan struct{})},

		clientTable:    newTableLimit(),
		clientSettings: newClientSettings(),
		serverTable:    newTableLimit(),
	}
	r.changed = sync.NewCond(&r.mutex)
	r.handlerContext, r.cancelHandlers = context.WithCancelCause(context.Background())
	r.serverMaxFrame.Store(defaultMaxFrame)
	r.serverFrameLimit.Store(defaultMaxFrame)
	return r
}

// Run relays until the client or the server ends the connection or Close is called. It
// returns the reason, which is never nil. Before it returns, it closes both connections and
// waits for all handlers.
//
// If the client does not begin with the HTTP/2 connection preface, Run copies the bytes of
// both directions unchanged.
func (r *Relay) Run() error {
	toServer := newClientToServer(r)
	begun, err := toServer.preface()
	switch {
	case errors.Is(err, errOtherProtocol):
		r.setRaw()
		err = r.relayRaw(begun)
	case err == nil:
		err = r.relayFrames(toServer)
	}
	r.fail(err)
	r.handlers.Wait()
	return r.failure
}

func (r *Relay) relayFrames(toServer *clientToServer) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := newServerToClient(r).run(); !r.outlivesServer(err) {
			r.failForPeer(r.server, err)
		}
	}()
	err := toServer.run()
	r.failForPeer(r.client, err)
	<-ended
	return err
}

// failForPeer ends both connections with err. of is the connection of the peer that caused
// it. A peer that violated the protocol gets GOAWAY with the reason.
func (r *Relay) failForPeer(of net.Conn, err error) {
	if mistake, ok := errors.AsType[connectionError](err); ok {
		r.mutex.Lock()
		last := r.maxClientStreamID
		r.mutex.Unlock()
		_ = of.SetWriteDeadline(time.Now().Add(closeTimeout)) // the peer may not read
		if of == r.client {
			_ = r.writeClient(appendGoAway(nil, last, mistake.code, mistake.text))
		} else {
			r.writeServer(appendGoAway(nil, 0, mistake.code, mistake.text))
			err = errors.Join(ErrServerDisconnected, err)
		}
	}
	r.fail(err)
}

// Close closes both connections and ends all requests. It does not wait for Run to return.
func (r *Relay) Close() { r.fail(net.ErrClosed) }

// fail ends both connections with err, or io.EOF if err is nil. Only the first call has an
// effect.
func (r *Relay) fail(err error) {
	r.mutex.Lock()
	if r.failure != nil {
		r.mutex.Unlock()
		return
	}
	if err == nil {
		err = io.EOF
	}
	r.failure = err
	if r.drain.timer != nil {
		r.drain.timer.Stop()
	}
	var ended []func(Outcome)
	for id, s := range r.relayed {
		delete(r.relayed, id)
		r.discardStream(s)
		if s.plan.Ended != nil {
			ended = append(ended, s.plan.Ended)
		}
	}
	for _, i := range r.intercepted {
		if i.exchange == nil && i.plan.Ended != nil {
			ended = append(ended, i.plan.Ended)
			i.plan.Ended = nil
		}
	}
	r.closeDrained()
	r.changed.Broadcast()
	r.mutex.Unlock()
	_ = r.client.Close()
	_ = r.server.Close()
	outcome := outcomeOf(err)
	var cause error // context.Canceled
	if outcome.End == ServerDisconnected {
		cause = ErrServerDisconnected
	}
	r.cancelHandlers(cause) // after closing, so that no answer of a cancelled handler is sent
	for _, tell := range ended {
		tell(outcome)
	}
}

// outcomeOf returns the outcome of the requests that were open when the connection failed.
func outcomeOf(failure error) Outcome {
	if errors.Is(failure, ErrServerDisconnected) || errors.Is(failure, net.ErrClosed) {
		return Outcome{End: ServerDisconnected}
	}
	return Outcome{End: ClientDisconnected}
}

// closeStream removes a relayed request and returns its Plan.Ended, or a function that does
// nothing. The caller holds the mutex, and must release it before it calls the function.
func (r *Relay) closeStream(id uint32) (ended func(Outcome)) {
	s, ok := r.relayed[id]
	if !ok {
		return func(Outcome) {}
	}
	delete(r.relayed, id)
	r.discardStream(s)
	r.checkDrained()
	if s.plan.Ended == nil {
		return func(Outcome) {}
	}
	return s.plan.Ended
}
