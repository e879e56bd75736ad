package frames

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
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

	// Held while whole frames are written, and never while waiting for mutex.
	writing, serverWriting sync.Mutex

	// What the two have announced (SETTINGS).
	clientTable, serverTable tableLimit
	serverMaxFrame           atomic.Uint32

	settled atomic.Bool // the client has the server's first frame, which is its SETTINGS

	mutex   sync.Mutex
	changed *sync.Cond           // something below has changed that somebody may wait for
	open    map[uint32]*stream   // relayed requests
	taken   map[uint32]*Exchange // the others
	highest uint32               // identifier that the client has used
	limit   uint32               // identifiers above it are not accepted
	bodies  int                  // bytes of the taken requests' bodies
	early   []byte               // frames for the client before it is settled
	failure error                // why the connection has ended; nil while it has not
	windows
	pings
	leaving
}

// stream is a relayed request. Each end closes its direction.
type stream struct {
	plan                   Plan // without Ended when that was called
	clientDone, serverDone bool
	answer                 *restoring // nil where it passes as it is
}

// NewRelay prepares a relay, which owns the connections from now on. Without a route
// it relays all requests.
func NewRelay(client, server net.Conn, route Route) *Relay {
	r := &Relay{
		client:  client,
		server:  server,
		route:   route,
		open:    map[uint32]*stream{},
		taken:   map[uint32]*Exchange{},
		limit:   streamMask,
		windows: newWindows(),
		leaving: leaving{drained: make(chan struct{})},
	}
	r.changed = sync.NewCond(&r.mutex)
	r.lifetime, r.end = context.WithCancel(context.Background())
	r.clientTable.set(tableSize)
	r.serverTable.set(tableSize)
	r.serverMaxFrame.Store(plainMaxFrame)
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
		r.become(raw)
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
		_ = of.SetWriteDeadline(time.Now().Add(farewell)) // as well as it can be
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
	if r.timer != nil {
		r.timer.Stop()
	}
	var ended []func(Outcome)
	for id, s := range r.open {
		delete(r.open, id)
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

// writeClient writes whole frames to the client.
func (r *Relay) writeClient(frames []byte) error {
	if len(frames) == 0 {
		return nil
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	_, err := r.client.Write(frames)
	return err
}

// inject writes frames to the client that the server has not sent. The server's SETTINGS
// come first (RFC 9113, 3.4), so that it waits for them.
func (r *Relay) inject(frames []byte) error {
	if !r.settled.Load() {
		r.mutex.Lock()
		for !r.settled.Load() && r.failure == nil {
			r.changed.Wait()
		}
		r.mutex.Unlock()
	}
	return r.writeClient(frames)
}

// settle notes that the client has the server's first frames. It gets what had to wait
// for them, and is asked to leave where it is to.
func (r *Relay) settle() error {
	r.mutex.Lock()
	r.phase = framed
	r.settled.Store(true)
	early, asked := r.early, r.asked
	r.early = nil
	r.changed.Broadcast()
	r.mutex.Unlock()
	if err := r.writeClient(early); err != nil || !asked {
		return err
	}
	r.warn()
	return nil
}

// writeServer writes whole frames to the server. One that takes no more is left when
// what it has still said is read.
func (r *Relay) writeServer(frames []byte) {
	if len(frames) == 0 || r.serverDeaf.Load() {
		return
	}
	r.serverWriting.Lock()
	defer r.serverWriting.Unlock()
	if _, err := r.server.Write(frames); err != nil && !r.serverDeaf.Swap(true) {
		_ = r.server.SetReadDeadline(time.Now().Add(farewell))
	}
}

// close ends a relayed request, and tells of it where it was open. The caller holds the
// mutex, and calls what is returned without it.
func (r *Relay) close(id uint32) (ended func(Outcome)) {
	s, ok := r.open[id]
	if !ok {
		return func(Outcome) {}
	}
	delete(r.open, id)
	if s.answer != nil {
		s.answer.abandoned = true
		r.changed.Broadcast()
	}
	r.checkLeft()
	if s.plan.Ended == nil {
		return func(Outcome) {}
	}
	return s.plan.Ended
}
