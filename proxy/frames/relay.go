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

// ErrServerGone says that it was the server that closed the connection.
var ErrServerGone = errors.New("the server has closed the connection")

// streamLimit bounds the requests of one connection that are open at once. More
// are refused, which tells the client that they can be made again.
const streamLimit = 10_000

// Relay joins the connection of a client with one to the server.
type Relay struct {
	client, server net.Conn
	route          Route
	lifetime       context.Context // of the handlers
	end            context.CancelFunc
	handlers       sync.WaitGroup

	clientWriter clientWriter
	serverWriter serverWriter

	// What the two have announced (SETTINGS).
	clientTable      tableLimit
	serverTable      tableLimit
	serverMaxFrame   atomic.Uint32 // of frames that the relay makes
	serverFrameLimit atomic.Uint32 // of those that the client may send
	clientListLimit  atomic.Uint32 // of a header list for the client, in bytes

	settled atomic.Bool // the client has the server's first frame, which is its SETTINGS

	mutex   sync.Mutex // guards the fields below, the streams and the exchanges
	changed *sync.Cond // signals changes of the fields below
	phase   phase
	failure error // why the connection has ended; nil while it has not

	open            map[uint32]*stream   // relayed requests
	sending         int                  // relayed requests whose queue is being sent
	taken           map[uint32]*Exchange // intercepted requests
	lastIntercepted uint32               // identifier of the last intercepted request
	highest         uint32               // identifier that the client has used
	limit           uint32               // identifiers above it are not accepted
	bodies          int                  // bytes of bodies and answers that are kept

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

	queue   []segment // of the answer, to be sent
	sending bool      // a goroutine sends the queue
	ending  bool      // the end of the answer is queued
	closed  bool      // the request was reset or lost
	trailer []hpack.HeaderField
}

// NewRelay prepares a relay, which owns the connections from now on. Without a route
// it relays all requests.
func NewRelay(client, server net.Conn, route Route) *Relay {
	r := &Relay{
		client: client,
		server: server,
		route:  route,
		open:   map[uint32]*stream{},
		taken:  map[uint32]*Exchange{},
		limit:  streamMask,
		flow:   newFlow(),
		drain:  drainState{drained: make(chan struct{})},

		clientTable:    newTableLimit(),
		clientSettings: newClientSettings(),
		serverTable:    newTableLimit(),
	}
	r.changed = sync.NewCond(&r.mutex)
	r.lifetime, r.end = context.WithCancel(context.Background())
	r.serverMaxFrame.Store(plainMaxFrame)
	r.serverFrameLimit.Store(plainMaxFrame)
	return r
}

// Run relays until either side ends the connection or Close is called, and
// returns why. When it returns both connections are closed, and all handlers have
// returned.
//
// A connection that does not begin as HTTP/2 does is relayed as it is.
func (r *Relay) Run() error {
	up := newUp(r)
	begun, err := up.preface()
	switch {
	case errors.Is(err, errOtherProtocol):
		r.becomeRaw()
		err = r.relayRaw(begun)
	case err == nil:
		err = r.relayFrames(up)
	}
	r.fail(err)
	r.handlers.Wait()
	return r.failure
}

func (r *Relay) relayFrames(up *up) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := newDown(r).run(); !r.mayOutlive(err) {
			r.failBecause(r.server, err)
		}
	}()
	err := up.run()
	r.failBecause(r.client, err)
	<-ended
	return err
}

// failBecause ends the connection for what one of the two has done. A client is
// told of its own mistake, and so is a server.
func (r *Relay) failBecause(of net.Conn, err error) {
	if mistake, ok := errors.AsType[connectionError](err); ok {
		r.mutex.Lock()
		last := r.highest
		r.mutex.Unlock()
		_ = of.SetWriteDeadline(time.Now().Add(closeTimeout)) // as well as it can be
		if of == r.client {
			_ = r.writeClient(appendGoAway(nil, last, mistake.code, mistake.text))
		} else {
			r.writeServer(appendGoAway(nil, 0, mistake.code, mistake.text))
			err = errors.Join(ErrServerGone, err)
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
	for id, s := range r.open {
		delete(r.open, id)
		r.discard(s)
		if s.plan.Ended != nil {
			ended = append(ended, s.plan.Ended)
		}
	}
	for _, x := range r.taken {
		if !x.begun && x.plan.Ended != nil {
			ended = append(ended, x.plan.Ended)
			x.plan.Ended = nil
		}
	}
	r.noteDrained()
	r.changed.Broadcast()
	r.mutex.Unlock()
	_ = r.client.Close()
	_ = r.server.Close()
	r.end() // then: what the handlers make of it is no answer
	outcome := Outcome{End: ClientGone}
	if errors.Is(err, ErrServerGone) || errors.Is(err, net.ErrClosed) {
		outcome.End = ServerGone
	}
	for _, tell := range ended {
		tell(outcome)
	}
}

// close ends a relayed request, and returns its observer's function if the request was
// open. The caller holds the mutex, and calls the function without it.
func (r *Relay) close(id uint32) (ended func(Outcome)) {
	s, ok := r.open[id]
	if !ok {
		return func(Outcome) {}
	}
	delete(r.open, id)
	r.discard(s)
	r.checkLeft()
	if s.plan.Ended == nil {
		return func(Outcome) {}
	}
	return s.plan.Ended
}
