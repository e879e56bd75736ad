package frames

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// blockedHandler returns a handler that answers when the channel is closed.
func blockedHandler() (Handler, chan struct{}) {
	release := make(chan struct{})
	return func(ctx context.Context, x *Exchange) {
		select {
		case <-release:
			answerWith("intercepted")(ctx, x)
		case <-ctx.Done():
		}
	}, release
}

// After GOAWAY of the server, intercepted requests are still answered, although the server's
// last stream is an earlier one. Relayed streams in between are reset with REFUSED_STREAM.
func TestServerLeaves(t *testing.T) {
	handler, release := blockedHandler()
	r := newFixture(t, handler).open()
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	r.client.request(3, "/relayed", true)
	r.server.expectRequest(3, "/relayed", true)
	r.client.request(5, "/intercepted", true)
	r.client.request(7, "/relayed", true)
	r.server.expectRequest(7, "/relayed", true)
	r.server.goAway(1)
	r.client.expect("GOAWAY 5 NO_ERROR", "RST_STREAM 3 REFUSED_STREAM")
	r.expectOutcome(ServerReset, http2.ErrCodeRefusedStream)
	r.expectOutcome(ServerReset, http2.ErrCodeRefusedStream) // stream 7

	r.client.request(9, "/relayed", false) // sent before the client read GOAWAY
	r.client.request(11, "/intercepted", false)
	r.client.data(9, true, strings.Repeat("x", creditLimit))
	r.client.expectCredit(map[uint32]int{0: creditLimit})
	r.syncPeers()

	r.server.headers(1, true, ":status=200")
	r.client.expect(headersLine(1, true, ":status=200"))
	r.expectOutcome(Complete, 0)
	_ = r.server.conn.Close()
	eventually(t, "the end of the server's connection", func() bool {
		r.relay.mutex.Lock()
		defer r.relay.mutex.Unlock()
		return r.relay.serverClosed
	})
	r.client.ping("12345678", false) // the relay answers in place of the server
	r.client.expect("PING ack 12345678")
	close(release)
	r.client.expectAnswer(5, "intercepted")
	r.client.expect("end")
	_ = r.client.conn.Close()
	_ = r.waitEnd()
}

// If the server sends only its first GOAWAY and closes its connection, the relay sends the
// final GOAWAY to the client.
func TestServerGoesAfterItsFirstWarning(t *testing.T) {
	handler, release := blockedHandler()
	r := newFixture(t, handler).open()
	r.client.request(1, "/intercepted", true)
	r.syncPeers()
	r.server.goAway(streamMask)
	r.client.expect("GOAWAY 2147483647 NO_ERROR")
	_ = r.server.conn.Close()
	r.client.expect("GOAWAY 1 NO_ERROR") // later requests are not answered
	r.client.request(3, "/relayed", true)
	close(release)
	r.client.expectAnswer(1, "intercepted")
	r.client.expect("end")
}

// If the server closes its connection without GOAWAY, or with an unanswered request, the
// client's connection ends, too.
func TestServerGoes(t *testing.T) {
	for name, before := range map[string]func(*fixture){
		"without GOAWAY":    func(*fixture) {},
		"without an answer": func(r *fixture) { r.server.goAway(9); r.client.expect("GOAWAY 9 NO_ERROR") },
	} {
		t.Run(name, func(t *testing.T) {
			handler, _ := blockedHandler()
			r := newFixture(t, handler).open()
			r.client.request(1, "/relayed", true)
			r.client.request(3, "/intercepted", true)
			r.server.expectRequest(1, "/relayed", true)
			before(r)
			_ = r.server.conn.Close()
			r.client.expect("end")
			if err := r.waitEnd(); !errors.Is(err, ErrServerDisconnected) {
				t.Errorf("Run: %v, want ErrServerDisconnected", err)
			}
			r.expectOutcome(ServerDisconnected, 0)
		})
	}
}

// The client gets the last frames of a server that no longer reads, even while the client
// sends DATA.
func TestServersLastWords(t *testing.T) {
	r := newFixture(t, nil).open()
	r.client.request(1, "/relayed", false)
	r.server.expectRequest(1, "/relayed", false)
	r.server.headers(1, true, ":status=413")
	r.server.goAway(1)
	if err := r.server.conn.CloseRead(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		r.client.data(1, false, "not read")
	}
	r.client.expect(headersLine(1, true, ":status=413"), "GOAWAY 1 NO_ERROR")
	_ = r.server.conn.Close()
	r.client.expect("end")
}

func TestClientLeaves(t *testing.T) {
	handler, release := blockedHandler()
	r := newFixture(t, handler).open()
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	r.client.request(3, "/intercepted", true)
	r.client.goAway(0)
	r.server.expect("GOAWAY 0 NO_ERROR")
	r.server.headers(1, true, ":status=200")
	r.client.expect(headersLine(1, true, ":status=200"))
	close(release)
	r.client.expectAnswer(3, "intercepted")
	_ = r.client.conn.Close()
	r.server.expect("end")
	_ = r.waitEnd()
}

// When the client closes its connection, its relayed and intercepted requests end.
func TestClientGoes(t *testing.T) {
	ended := make(chan error, 1)
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		<-ctx.Done()
		ended <- x.End(nil)
	}).open()
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	r.client.request(3, "/intercepted", true)
	r.syncPeers()
	_ = r.client.conn.Close()
	r.server.expect("end")
	_ = r.waitEnd()
	_ = await(t, "the end of the handler", ended)
	r.expectOutcome(ClientDisconnected, 0)
}

// The last stream identifier of successive GOAWAY frames does not increase (RFC 9113, 6.8),
// also if Drain is called after the server sent GOAWAY.
func TestDrainAfterServerLeft(t *testing.T) {
	handler, release := blockedHandler()
	r := newFixture(t, handler).open()
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	r.client.request(3, "/intercepted", true)
	r.syncPeers()
	r.server.goAway(1)
	r.client.expect("GOAWAY 3 NO_ERROR")
	r.relay.Drain()
	r.client.expect("GOAWAY 3 NO_ERROR", "PING leaving!")
	r.client.ping("leaving!", true)
	r.client.expect("GOAWAY 3 NO_ERROR")
	close(release)
	r.client.expectAnswer(3, "intercepted")
}

// Drain sends GOAWAY twice, and all requests that have begun are answered.
func TestDrain(t *testing.T) {
	handler, release := blockedHandler()
	r := newFixture(t, handler).open()
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	r.relay.Drain()
	r.relay.Drain()
	r.client.expect("GOAWAY 2147483647 NO_ERROR", "PING leaving!")
	r.client.request(3, "/intercepted", true) // sent before the client read GOAWAY
	r.client.ping("leaving!", true)
	r.client.expect("GOAWAY 3 NO_ERROR")
	r.client.ping("leaving!", true) // not forwarded to the server
	r.client.request(5, "/relayed", true)
	r.client.request(7, "/intercepted", true)
	r.syncPeers()
	r.server.goAway(streamMask) // later than the last stream announced so far
	r.client.expect("GOAWAY 3 NO_ERROR")
	r.server.headers(1, true, ":status=200")
	r.client.expect(headersLine(1, true, ":status=200"))
	close(release)
	r.client.expectAnswer(3, "intercepted")
	r.client.expect("end")
	_ = r.waitEnd()
}

// A client that does not acknowledge the PING gets the final GOAWAY after pingTimeout, and its
// connection is closed after closeTimeout.
func TestDrainOfDeafClient(t *testing.T) {
	r := newFixture(t, nil).open()
	r.relay.Drain()
	r.client.expect("GOAWAY 2147483647 NO_ERROR", "PING leaving!", "GOAWAY 0 NO_ERROR", "end")
	_ = r.waitEnd()
}

// A client that connects during Drain gets GOAWAY after the server's SETTINGS. Before them,
// grpc-go would treat the connection attempt, and the calls waiting for it, as failed.
func TestDrainOfNewClient(t *testing.T) {
	r := newFixture(t, nil)
	r.relay.Drain()
	r.client.send([]byte(http2.ClientPreface))
	r.client.settings()
	r.server.readPreface()
	r.server.expect("SETTINGS")
	r.server.settings()
	r.client.expect("SETTINGS", "GOAWAY 2147483647 NO_ERROR", "PING leaving!")
	r.client.ping("leaving!", true)
	r.client.expect("GOAWAY 0 NO_ERROR", "end")
	_ = r.waitEnd()
}

// After Drain, a connection without a preface is closed after pingTimeout.
func TestDrainOfSilentClient(t *testing.T) {
	r := newFixture(t, nil)
	r.relay.Drain()
	r.client.expect("end")
	_ = r.waitEnd()
}

// Drain and Close do not wait for a peer that does not read or write.
func TestEndOfStuckConnections(t *testing.T) {
	flood := func(p *peer) {
		go func() {
			for data := make([]byte, defaultMaxFrame); p.framer.WriteData(1, false, data) == nil; {
			}
		}()
	}
	tests := map[string]func(*fixture){
		"no preface": func(*fixture) {},
		"half of the preface": func(r *fixture) {
			r.client.send([]byte(http2.ClientPreface)[:10])
		},
		"the client does not read": func(r *fixture) {
			r.open()
			r.client.windowUpdate(0, 1<<30)
			r.client.request(1, "/relayed", true)
			r.server.expect("WINDOW_UPDATE 0 1073741824")
			r.server.expectRequest(1, "/relayed", true)
			flood(r.server)
			eventually(r.t, "a blocked write of the relay", func() bool { return r.isStuck(&r.relay.clientWriter.mutex) })
		},
		"the server does not read": func(r *fixture) {
			r.open()
			r.client.request(1, "/relayed", false)
			flood(r.client)
			eventually(r.t, "a blocked write of the relay", func() bool { return r.isStuck(&r.relay.serverWriter.mutex) })
		},
		"an answer waits for its window": func(r *fixture) {
			r.open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			r.client.request(1, "/intercepted", true)
			r.client.expect(headersLine(1, false, ":status=200"))
		},
		"DATA waits for the window": func(r *fixture) {
			r.open()
			r.client.request(1, "/relayed", true)
			r.server.expectRequest(1, "/relayed", true)
			r.client.request(3, "/intercepted", true)
			r.client.expectAnswer(3, "intercepted")
			for sent := 0; sent < defaultWindow; sent += defaultMaxFrame {
				r.server.data(1, false, strings.Repeat("\x00", min(defaultMaxFrame, defaultWindow-sent)))
			}
			r.client.expectData(1, false, strings.Repeat("\x00", defaultWindow-len("intercepted")))
		},
		"a request has no body yet": func(r *fixture) {
			r.open()
			r.client.request(1, "/intercepted", false)
			r.syncPeers()
		},
		"raw": func(r *fixture) {
			r.client.send([]byte("GET / HTTP/1.1\r\n\r\n"))
		},
	}
	for name, until := range tests {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, answerWith("intercepted"))
			until(r)
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				r.relay.Drain()
			}()
			await(t, "the return of Drain", drained)
			r.relay.Close()
			r.relay.Close()
			_ = r.waitEnd()
		})
	}
}

// isStuck reports whether a write lock stays locked.
func (r *fixture) isStuck(writing interface {
	TryLock() bool
	Unlock()
}) bool {
	for range 100 {
		if writing.TryLock() {
			writing.Unlock()
			return false
		}
	}
	return true
}

// A relay can be closed before Run is called.
func TestCloseBeforeRun(t *testing.T) {
	one, other := socketPair(t)
	relay := NewRelay(one, other, nil)
	relay.Close()
	if err := relay.Run(); err == nil {
		t.Error("Run returned no error")
	}
}

// CloseStreaming cancels an unbounded intercepted request, even one whose handler starts
// after the call.
func TestCloseStreamingOfInterceptedRequest(t *testing.T) {
	for name, closedFirst := range map[string]bool{"before the handler starts": true, "while the handler runs": false} {
		t.Run(name, func(t *testing.T) {
			causes := make(chan error, 1)
			r := newFixture(t, func(ctx context.Context, x *Exchange) {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				_ = x.End([]hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "grpc-status", Value: "14"}})
			}).open()
			r.client.request(1, "/intercepted/unbounded", false)
			r.syncPeers()
			r.relay.Drain()
			r.client.expect("GOAWAY 2147483647 NO_ERROR", "PING leaving!")
			r.client.ping("leaving!", true)
			r.client.expect("GOAWAY 1 NO_ERROR")
			if closedFirst {
				r.relay.CloseStreaming()
			}
			r.client.data(1, true, "")
			await(t, "Drained", r.relay.Drained())
			r.relay.CloseStreaming()
			if cause := await(t, "the cancellation of the handler's context", causes); !errors.Is(cause, ErrShutdown) {
				t.Errorf("the handler's context was cancelled with %v, want ErrShutdown", cause)
			}
			r.client.expect(headersLine(1, true, ":status=200", "!grpc-status=14"), "end")
			_ = r.waitEnd()
		})
	}
}

// A request that is undecided when the server goes away is handled: the server would not
// answer it.
func TestUndecidedWhileServerGoesAway(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.relayCall(1)
	r.client.request(3, "/intercepted/restored", false)
	r.syncPeers()
	r.server.goAway(1)
	r.client.expect("GOAWAY 3 NO_ERROR")
	r.client.data(3, true, "ask")
	r.client.expectAnswer(3, "handled")
	r.client.expect("WINDOW_UPDATE 0 3")
}
