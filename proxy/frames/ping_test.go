package frames

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// PING frames are forwarded, except for one after each injected answer.
func TestPings(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.pingPasses()
	r.pingPasses()
	for id := uint32(1); id < 7; id += 2 {
		r.client.request(id, "/intercepted", true)
		r.client.expectAnswer(id, "intercepted")
		r.pingIsAnswered()
		r.pingPasses() // forwarded, so that the client notices a server that hangs
	}
	r.client.request(7, "/intercepted", true)
	r.client.expectAnswer(7, "intercepted")
	r.relayCall(9)
	r.pingPasses() // the server has sent HEADERS since
	r.pingPasses()

	r.server.ping("12345678", false)
	r.client.expect("PING 12345678")
	r.client.ping("12345678", true)
	r.server.expect("PING ack 12345678")
	r.client.ping("leaving!", true) // not expected, because Drain was not called
	r.server.expect("PING ack leaving!")
}

// While only intercepted requests are open, the relay answers PING frames. The server would
// count them as those of a connection without requests, and close it.
func TestPingsDuringInterceptedRequest(t *testing.T) {
	handler, release := blockedHandler()
	r := newFixture(t, handler).open()
	r.client.request(1, "/intercepted", true)
	for range 5 {
		r.pingIsAnswered()
	}
	r.client.request(3, "/relayed", true)
	r.server.expectRequest(3, "/relayed", true)
	r.pingPasses()
	r.pingPasses()
	r.server.headers(3, true, ":status=200")
	r.client.expect(headersLine(3, true, ":status=200"))
	r.pingIsAnswered()
	close(release)
	r.client.expectAnswer(1, "intercepted")
	eventually(t, "the end of the intercepted request", func() bool {
		requests, _ := r.buffered()
		return requests == 0
	})
	r.pingPasses() // the server has sent HEADERS since the last one
}

// The server sends an answer, and the client's window lets only a part of it pass. The relay
// answers the PING frames with which the client measures the rest. The server would count
// them, because it has sent nothing meanwhile, and close the connection.
func TestPingsDuringQueuedAnswer(t *testing.T) {
	r := newFixture(t, answerWith(strings.Repeat("x", defaultWindow-3))).open()
	r.server.ignoreCredit = true
	r.client.request(1, "/intercepted", true)
	r.client.expect(headersLine(1, false, ":status=200"))
	r.client.expectData(1, false, strings.Repeat("x", defaultWindow-3))
	r.client.expect(headersLine(1, true, "!grpc-status=0"))
	r.client.request(3, "/relayed", true)
	r.server.expectRequest(3, "/relayed", true)
	r.server.headers(3, false, ":status=200")
	r.server.data(3, false, "123456789")
	r.server.headers(3, true, "grpc-status=0")
	r.client.expect(headersLine(3, false, ":status=200"), dataLine(3, false, "123"))
	r.syncPeers()
	r.pingPasses() // the server has sent DATA since the last one
	for _, piece := range []string{"4", "5", "6", "7"} {
		r.client.windowUpdate(0, 1)
		r.client.expect(dataLine(3, false, piece))
		r.pingIsAnswered()
		r.pingPasses() // forwarded, so that the client notices a server that hangs
	}
	r.client.windowUpdate(0, 100)
	r.client.expect(dataLine(3, false, "89"), headersLine(3, true, "grpc-status=0"))
	r.pingIsAnswered()
}

func (r *fixture) pingPasses() {
	r.t.Helper()
	r.client.ping("12345678", false)
	r.server.expect("PING 12345678")
	r.server.ping("12345678", true)
	r.client.expect("PING ack 12345678")
}

func (r *fixture) pingIsAnswered() {
	r.t.Helper()
	r.client.ping("12345678", false)
	r.client.expect("PING ack 12345678")
}

// The client gets the server's SETTINGS as the first frame (RFC 9113, 3.4), even if an
// intercepted request is answered earlier.
func TestServersSettingsComeFirst(t *testing.T) {
	answered := make(chan struct{})
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		close(answered)
		answerWith("intercepted")(ctx, x)
	})
	r.client.send([]byte(http2.ClientPreface))
	r.client.settings()
	r.client.request(1, "/intercepted", false)
	r.client.data(1, false, "body")
	r.client.data(1, true, "")
	r.client.request(3, "/relayed", true)
	r.server.readPreface()
	r.server.expect("SETTINGS")
	r.server.expectRequest(3, "/relayed", true)
	await(t, "the answer of the handler", answered)
	r.server.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 9})
	r.client.expect("SETTINGS MAX_CONCURRENT_STREAMS=9")
	got := map[string]bool{}
	for range 5 {
		got[r.client.read()] = true
	}
	for _, want := range []string{"WINDOW_UPDATE 1 4", headersLine(1, false, ":status=200"), dataLine(1, false, "intercepted"),
		headersLine(1, true, "!grpc-status=0"), "WINDOW_UPDATE 0 4"} {
		if !got[want] {
			t.Errorf("the client got %v, want %s", got, want)
		}
	}
}
