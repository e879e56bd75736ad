package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// answerBeforeRequestEnds sends a complete answer from the server, and then the end of the
// request from the client. The answer is queued, because an injected one has used up the
// window of the client's connection.
func answerBeforeRequestEnds(t *testing.T) *fixture {
	t.Helper()
	r := newFixture(t, answerWith(strings.Repeat("x", defaultWindow))).open()
	r.client.request(1, "/relayed", false)
	r.server.expectRequest(1, "/relayed", false)
	r.client.request(3, "/intercepted", true)
	r.client.expect(headersLine(3, false, ":status=200"))
	r.client.expectData(3, false, strings.Repeat("x", defaultWindow))
	r.client.expect(headersLine(3, true, "!grpc-status=0"))
	r.server.headers(1, false, ":status=200")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.server.data(1, false, "0123456789")
	r.server.headers(1, true, "grpc-status=0")
	r.server.send(frameOf(0xfa, 0, 0, "queued"))
	r.client.expect(`0xfa 0 flags=0 "queued"`)
	r.client.data(1, true, "end")
	r.server.expect(dataLine(1, true, "end"))
	return r
}

// If the client ends a request and then resets its stream, the queued answer is dropped.
func TestQueuedAnswerIsGivenUp(t *testing.T) {
	r := answerBeforeRequestEnds(t)
	r.client.reset(1, http2.ErrCodeCancel)
	r.server.ignoreCredit = true
	r.server.expect("RST_STREAM 1 CANCEL")
	eventually(t, "the release of all requests", func() bool { requests, bodies := r.buffered(); return requests == 0 && bodies == 0 })
	r.client.windowUpdate(0, 100)
	r.relayCall(5)
}

// Plan.Ended of a request with a queued answer is called when the connection ends.
func TestQueuedAnswerIsLost(t *testing.T) {
	r := answerBeforeRequestEnds(t)
	_ = r.client.conn.Close()
	_ = r.waitEnd()
	r.expectOutcome(ClientDisconnected, 0)
}

// A queued answer keeps to a window that becomes smaller.
func TestWindowOfQueuedAnswer(t *testing.T) {
	r := answerBeforeRequestEnds(t)
	r.changeSettings(r.client, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.client.windowUpdate(0, 10)
	r.syncPeers()
	r.client.windowUpdate(1, 4)
	r.client.expect(dataLine(1, false, "0123"))
}

// A server may answer before the request has ended and then send RST_STREAM (RFC 9113, 8.1).
// The request ends even if RST_STREAM arrives while Plan.Ended is called after the queue has
// been sent.
func TestResetAfterQueuedAnswer(t *testing.T) {
	ended, release := make(chan struct{}), make(chan struct{})
	r := newFixture(t, answerWith("handled"))
	r.relay.route = func([]hpack.HeaderField) Plan {
		return Plan{Ended: func(Outcome) {
			close(ended)
			<-release
		}}
	}
	r.open()
	r.relay.mutex.Lock()
	r.relay.flow.toClient.inject(defaultWindow) // as an intercepted answer would
	r.relay.mutex.Unlock()
	r.client.request(1, "/relayed", false)
	r.server.expectRequest(1, "/relayed", false)
	r.server.headers(1, false, ":status=200")
	r.server.data(1, false, "answer")
	r.server.headers(1, true, "grpc-status=8")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.server.send(frameOf(0xfa, 0, 0, "queued")) // makes sure that the trailer is queued, too
	r.client.expect(`0xfa 0 flags=0 "queued"`)
	r.client.windowUpdate(0, 1000)
	r.client.expect(dataLine(1, false, "answer"), headersLine(1, true, "grpc-status=8"))
	await(t, "the call of Plan.Ended", ended)
	r.server.reset(1, http2.ErrCodeNo)
	r.server.send(frameOf(0xfa, 0, 0, "reset"))
	r.client.expect(`0xfa 0 flags=0 "reset"`)
	close(release)
	r.client.expect("RST_STREAM 1 NO_ERROR")
	eventually(t, "the release of all requests", func() bool { requests, _ := r.buffered(); return requests == 0 })
}
