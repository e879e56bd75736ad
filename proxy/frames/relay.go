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

// ErrServerDisconnected is the error of a connection that the server has closed.
var ErrServerDisconnected = errors.New("the server has closed the connection")

// streamLimit bounds the requests of one connection that are open at once. More
// are refused, which tells the client that they can be made again.
const streamLimit = 10_000

// Relay joins the connection of a client with one to the server.
type Relay struct {
	client, server net.Conn
	route          Route
	handlerContext context.Context // of the handlers
	cancelHandlers context.CancelFunc
	handlers       sync.WaitGroup

	clientWriter clientWriter
	serverWriter serverWriter

	// What the two have announced (SETTINGS).
	clientTable      tableLimit
	serverTable      tableLimit
	serverMaxFrame   atomic.Uint32 // of frames that the relay makes
	serverFrameLimit atomic.Uint32 // of those that the client may send
	clientListLimit  atomic.Uint32 // of a header list for the client, in bytes

	serverSettingsSent atomic.Bool // the client has the server's first frame, which is its SETTINGS

	mutex   sync.Mutex // guards the fields below, the streams and the exchanges
	changed *sync.Cond // signals changes of the fields below
	phase   phase
	failure error // why the connection has ended; nil while it has not

	relayed           map[uint32]*stream       // relayed requests
	sendingQueues     int                      // relayed requests whose queue is being sent
	intercepted       map[uint32]*interception // intercepted requests
	maxInterceptedID  uint32                   // of the last intercepted request
	maxClientStreamID uint32                   // the highest that the client has used
	lastStreamID      uint32                   // of GOAWAY; requests above it are not accepted
	buffered          int                      // bytes of requests and answers in memory

	serverGoAway bool // the server has sent GOAWAY
	serverClosed bool // the server has closed its connection; the client's goes on

	flow           flow
	clientSettings clientSettings
	credit         serverCredit
	control        controlQueue
	pings          pingState
	drain          drainState
}

// phase is the state of a connection's protocol.
type phase int

const (
	opening phase = iota // not known yet
	framed               // HTTP/2
	raw                  // another protocol
)

// stream is a relayed request. Each end closes its direction. It is guarded by Relay.mutex.
type stream struct {
	id                     uint32
	plan                   Plan // without Ended when that was called
	clientDone, serverDone bool
	restoration            *restoration // nil where the answer is not changed
	window                 relayWindow  // of the answer

	queue     []segment // of the answer, to be sent
	sending   bool      // a goroutine sends the queue
	endQueued bool      // the end of the answer is queued
	closed    bool      // the request was reset or lost
	trailer   []hpack.HeaderField
}

// NewRelay prepares a relay, which owns the connections from now on. Without a route
// it relays all requests.
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
	r.handlerContext, r.cancelHandlers = context.WithCancel(context.Background())
	r.serverMaxFrame.Store(defaultMaxFrame)
	r.serverFrameLimit.Store(defaultMaxFrame)
	return r
}

// Run relays until either side ends the connection or Close is called, and
// returns why. When it returns both connections are closed, and all handlers have
// returned.
//
// A connection that does not begin as HTTP/2 does is relayed as it is.
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

// failForPeer ends the connection because of one peer. A peer that violated the protocol
// gets GOAWAY with the reason.
func (r *Relay) failForPeer(of net.Conn, err error) {
	if mistake, ok := errors.AsType[connectionError](err); ok {
		r.mutex.Lock()
		last := r.maxClientStreamID
		r.mutex.Unlock()
		_ = of.SetWriteDeadline(time.Now().Add(closeTimeout)) // as well as it can be
		if of == r.client {
			_ = r.writeClient(appendGoAway(nil, last, mistake.code, mistake.text))
		} else {
			r.writeServer(appendGoAway(nil, 0, mistake.code, mistake.text))
			err = errors.Join(ErrServerDisconnected, err)
		}
	}
	r.fail(err)
}

// Close ends the connection and everything on it. Run returns soon after.
func (r *Relay) Close() { r.fail(net.ErrClosed) }

// fail ends the connection; only the first time counts.
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
	r.cancelHandlers() // then: what the handlers make of it is no answer
	outcome := Outcome{End: ClientDisconnected}
	if errors.Is(err, ErrServerDisconnected) || errors.Is(err, net.ErrClosed) {
		outcome.End = ServerDisconnected
	}
	for _, tell := range ended {
		tell(outcome)
	}
}

// closeStream ends a relayed request and returns its Plan.Ended, or a function that does
// nothing. The caller holds the mutex, and calls the function without it.
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
