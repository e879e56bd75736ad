package frames

import (
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// heldConn is a connection whose writes return only after release, once hold is set. The peer
// gets the bytes at once.
type heldConn struct {
	net.Conn
	hold    atomic.Bool
	release chan struct{}
}

func (c *heldConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.hold.Load() {
		<-c.release
	}
	return n, err
}

// A queued answer is reported as complete, even if the client resets the stream or
// disconnects as soon as it has read the answer. For example, grpc-go's client disconnects
// then if it has got GOAWAY.
func TestEndOfQueuedAnswerWins(t *testing.T) {
	for name, leave := range map[string]func(*fixture){
		"over a reset": func(r *fixture) {
			r.client.reset(1, http2.ErrCodeCancel)
			r.server.expect("RST_STREAM 1 CANCEL")
		},
		"over a disconnect": func(r *fixture) {
			_ = r.client.conn.Close()
			eventually(r.t, "the end of the connection", func() bool {
				r.relay.mutex.Lock()
				defer r.relay.mutex.Unlock()
				return r.relay.failure != nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			held := &heldConn{release: make(chan struct{})}
			r := newFixtureOver(t, answerWith("handled"), func(client net.Conn) net.Conn {
				held.Conn = client
				return held
			}).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			r.server.ignoreCredit = true
			r.stuckAnswer(1)
			held.hold.Store(true)
			r.client.windowUpdate(1, 100)
			r.client.expect(dataLine(1, false, "234512345"), headersLine(1, true, "grpc-status=0", "some=field"))
			leave(r)
			close(held.release)
			r.expectOutcome(Complete, 0)
		})
	}
}

// If the end of a queued answer cannot be written, the answer is not complete.
func TestUnwrittenEndOfQueuedAnswer(t *testing.T) {
	failing := &failingConn{}
	r := newFixtureOver(t, answerWith("handled"), func(client net.Conn) net.Conn {
		failing.Conn = client
		return failing
	}).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	r.server.ignoreCredit = true
	r.stuckAnswer(1)
	failing.fail.Store(true)
	r.client.windowUpdate(1, 100)
	r.expectOutcome(ClientDisconnected, 0)
}

// failingConn is a connection whose writes fail once fail is set.
type failingConn struct {
	net.Conn
	fail atomic.Bool
}

func (c *failingConn) Write(b []byte) (int, error) {
	if c.fail.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}
