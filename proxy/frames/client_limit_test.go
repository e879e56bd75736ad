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

// syncClient waits until the client has handled all frames that the server has sent.
func (p *peer) syncClient() {
	p.t.Helper()
	p.ping("settled.", false) // 8 bytes
	p.expect("PING ack settled.")
}

// Until the server has sent its SETTINGS, which contain its limit, a connection has one
// request, and no other connection is opened.
func TestClientWaitsForSettings(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := await(t, "a connection to the server", r.servers)
	s.readPreface()
	s.expect("SETTINGS INITIAL_WINDOW_SIZE=1048576", fmt.Sprintf("WINDOW_UPDATE 0 %d", connectionWindow-defaultWindow))
	s.expectRequest(1, "/first", true)
	second, third := r.do(t.Context(), "/other", ""), r.do(t.Context(), "/other", "")
	s.syncClient()
	eventually(t, "a waiting request", func() bool { return len(r.client.turn) == 1 })
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

// The client follows a limit that the server changes.
func TestClientFollowsChangedLimit(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := r.server(limitOf(0))
	s.expectRequest(1, "/first", true) // sent before the SETTINGS arrived
	s.reset(1, http2.ErrCodeRefusedStream)
	s.syncClient()
	s.settings(limitOf(1))
	s.expectRequest(3, "/first", true)
	s.answer(3, "first")
	r.expectAll(first, "first")
}

// When all connections have reached their limits, requests wait for a place until their
// contexts are done.
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
	eventually(t, "a waiting request", func() bool { return len(r.client.turn) == 1 })
	expired, cancelExpired := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelExpired()
	r.expectError(r.do(expired, "/expired", ""), context.DeadlineExceeded)
	cancel()
	r.expectError(impatient, context.Canceled)
	queued := r.do(t.Context(), "/queued", "")
	eventually(t, "a waiting request", func() bool { return len(r.client.turn) == 1 })
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
		s.expect("end") // closed after spareIdleTimeout
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

// If the server accepts only one connection, it gets the requests one after another.
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
	eventually(t, "a waiting request", func() bool { return len(r.client.turn) == 1 })
	s.answer(1, "first")
	r.expectAll(first, "first")
	s.expectRequest(3, "/second", true)
	s.answer(3, "second")
	r.expectAll(second, "second")
	_ = client.Close()
	_ = s.conn.Close()
}

// A request that the server refuses is retried until its context is done.
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
		if times := await(t, "the end of the connection", refused); times < 3 || times > 30 {
			t.Errorf("the client sent the request %d times in 100ms, want 3 to 30", times)
		}
	})
}

// Close ends requests that wait for a place.
func TestClientCloseEndsQueue(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := await(t, "a connection to the server", r.servers)
	s.readPreface()
	second := r.do(t.Context(), "/second", "")
	eventually(t, "a waiting request", func() bool { return len(r.client.turn) == 1 })
	_ = r.client.Close()
	r.expectError(first, net.ErrClosed)
	r.expectError(second, net.ErrClosed)
}
