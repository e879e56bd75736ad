package frames

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func limitOf(streams uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streams}
}

// syncClient returns when the client has handled all frames that the server has sent.
func (p *peer) syncClient() {
	p.t.Helper()
	p.ping("settled.", false)
	p.expect("PING ack settled.")
}

// Before the server has sent its settings, and its limit with them, a connection has one
// request, and no other connection is opened.
func TestClientWaitsForSettings(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := await(t, "the server is dialled", r.servers)
	s.readPreface()
	s.expect("SETTINGS INITIAL_WINDOW_SIZE=1048576", fmt.Sprintf("WINDOW_UPDATE 0 %d", connectionWindow-defaultWindow))
	s.expectRequest(1, "/first", true)
	second, third := r.do(t.Context(), "/other", ""), r.do(t.Context(), "/other", "")
	s.syncClient()
	eventually(t, "a request waits", func() bool { return len(r.client.turn) == 1 })
	s.settings(limitOf(2))
	s.expectRequest(3, "/other", true)
	other := r.server()
	other.expectRequest(1, "/other", true)
	s.answer(1, "first")
	s.answer(3, "other")
	other.answer(1, "other")
	for _, result := range []<-chan answered{second, third} {
		r.expectAll(result, "other")
	}
	r.expectAll(first, "first")
}

// The limit holds as the server changes it.
func TestClientFollowsChangedLimit(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := r.server(limitOf(0))
	s.expectRequest(1, "/first", true) // sent before the limit was known
	s.reset(1, http2.ErrCodeRefusedStream)
	s.syncClient()
	s.settings(limitOf(1))
	s.expectRequest(3, "/first", true)
	s.answer(3, "first")
	r.expectAll(first, "first")
}

// At the limit of all connections requests are queued in the order in which they came,
// as long as their contexts allow.
func TestClientQueuesRequests(t *testing.T) {
	r := newClientFixture(t)
	var results []<-chan answered
	var servers []*peer
	for range connectionLimit {
		results = append(results, r.do(t.Context(), "/running", ""))
		s := r.server(limitOf(1))
		s.expectRequest(1, "/running", true)
		s.syncClient()
		servers = append(servers, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	impatient := r.do(ctx, "/impatient", "")
	eventually(t, "a request waits", func() bool { return len(r.client.turn) == 1 })
	expired, cancelExpired := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelExpired()
	r.expectError(r.do(expired, "/expired", ""), context.DeadlineExceeded)
	cancel()
	r.expectError(impatient, context.Canceled)
	queued := r.do(t.Context(), "/queued", "")
	eventually(t, "a request waits", func() bool { return len(r.client.turn) == 1 })
	last := servers[len(servers)-1]
	last.answer(1, "last")
	last.expectRequest(3, "/queued", true)
	last.answer(3, "queued")
	r.expectAll(queued, "queued")
	for i, s := range servers[:len(servers)-1] {
		s.answer(1, fmt.Sprint(i))
		r.expectAll(results[i], fmt.Sprint(i))
	}
	r.expectAll(results[len(results)-1], "last")
	if len(r.servers) > 0 {
		t.Errorf("%d more connections were opened", len(r.servers))
	}
	for _, s := range servers[1:] {
		s.expect("end") // they are closed after a while without a request
	}
	next := r.do(t.Context(), "/next", "")
	servers[0].expectRequest(3, "/next", true)
	servers[0].answer(3, "next")
	r.expectAll(next, "next")
}

// A cancelled request keeps its place until the reset is written.
func TestClientCancelFreesPlace(t *testing.T) {
	r := newClientFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := r.do(ctx, "/cancelled", "")
	s := r.server(limitOf(1))
	s.expectRequest(1, "/cancelled", true)
	s.syncClient()
	cancel()
	r.expectError(cancelled, context.Canceled)
	next := r.do(t.Context(), "/next", "")
	s.expect("RST_STREAM 1 CANCEL")
	s.expectRequest(3, "/next", true)
	s.answer(3, "next")
	r.expectAll(next, "next")
}

// A server that takes no further connection gets the requests one after another.
func TestClientKeepsToOneConnection(t *testing.T) {
	only := make(chan *peer, 1)
	dialled := false
	client := NewClient(func(context.Context) (net.Conn, error) {
		if dialled {
			return nil, errors.New("too many connections")
		}
		dialled = true
		one, other := socketPair(t)
		only <- newPeer(t, "server", other)
		return one, nil
	})
	r := &clientFixture{t: t, client: client, servers: only}
	first := r.do(t.Context(), "/first", "")
	s := r.server(limitOf(1))
	s.ignoreAcks = true
	s.expectRequest(1, "/first", true)
	s.syncClient()
	second := r.do(t.Context(), "/second", "")
	eventually(t, "a request waits", func() bool { return len(r.client.turn) == 1 })
	s.answer(1, "first")
	r.expectAll(first, "first")
	s.expectRequest(3, "/second", true)
	s.answer(3, "second")
	r.expectAll(second, "second")
	_ = client.Close()
	_ = s.conn.Close()
}

// What the server has not taken is asked again, until the context is done.
func TestClientRepeatsRefusedRequest(t *testing.T) {
	t.Run("reset", func(t *testing.T) {
		r := newClientFixture(t)
		result := r.do(t.Context(), "/refused", "body")
		s := r.server()
		id := uint32(1)
		for range 5 {
			s.expectRequest(id, "/refused", false)
			s.expect(dataLine(id, true, "body"))
			s.reset(id, http2.ErrCodeRefusedStream)
			id += 2
		}
		s.expectRequest(id, "/refused", false)
		s.expect(dataLine(id, true, "body"))
		s.answer(id, "at last")
		r.expectAll(result, "at last")
	})
	t.Run("GOAWAY", func(t *testing.T) {
		r := newClientFixture(t)
		result := r.do(t.Context(), "/refused", "")
		s := r.server()
		s.expectRequest(1, "/refused", true)
		s.goAway(0)
		s.expect("end")
		other := r.server()
		other.expectRequest(1, "/refused", true)
		other.answer(1, "at last")
		r.expectAll(result, "at last")
	})
	t.Run("until the end", func(t *testing.T) {
		r := newClientFixture(t)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		result := r.do(ctx, "/refused", "")
		s := r.server()
		refused := make(chan int)
		go func() {
			times := 0
			for {
				f, err := s.next()
				if _, ok := f.(*http2.HeadersFrame); ok && err == nil {
					times++
					err = s.framer.WriteRSTStream(f.Header().StreamID, http2.ErrCodeRefusedStream)
				}
				if err != nil { // the connection has ended
					refused <- times
					return
				}
			}
		}()
		r.expectError(result, context.DeadlineExceeded)
		_ = r.client.Close()
		if times := await(t, "the connection ends", refused); times < 3 || times > 30 {
			t.Errorf("the request was made %d times in 100ms", times)
		}
	})
}

// Close ends the requests that wait for a place.
func TestClientCloseEndsQueue(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := await(t, "the server is dialled", r.servers)
	s.readPreface()
	second := r.do(t.Context(), "/second", "")
	eventually(t, "a request waits", func() bool { return len(r.client.turn) == 1 })
	_ = r.client.Close()
	r.expectError(first, net.ErrClosed)
	r.expectError(second, net.ErrClosed)
}
