package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// answerBeforeRequestEnds has the server answer a request that the client ends later. The
// answer is queued, because an injected one has used up the client's connection window.
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

// The queue of a request that the client has ended and then resets is dropped.
func TestQueuedAnswerIsGivenUp(t *testing.T) {
	r := answerBeforeRequestEnds(t)
	r.client.reset(1, http2.ErrCodeCancel)
	r.server.ignoreCredit = true
	r.server.expect("RST_STREAM 1 CANCEL")
	eventually(t, "nothing is kept", func() bool { requests, bodies := r.buffered(); return requests == 0 && bodies == 0 })
	r.client.windowUpdate(0, 100)
	r.relayCall(5)
}

// The observer of such a request learns that the connection has ended.
func TestQueuedAnswerIsLost(t *testing.T) {
	r := answerBeforeRequestEnds(t)
	_ = r.client.conn.Close()
	_ = r.waitEnd()
	r.expectOutcome(ClientDisconnected, 0)
}

// Smaller windows hold for the queue of such a request, too.
func TestWindowOfQueuedAnswer(t *testing.T) {
	r := answerBeforeRequestEnds(t)
	r.changeSettings(r.client, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.client.windowUpdate(0, 10)
	r.syncPeers()
	r.client.windowUpdate(1, 4)
	r.client.expect(dataLine(1, false, "0123"))
}

// RST_STREAM of a server that has answered before the request has ended (RFC 9113, 8.1) ends
// the request also when it comes just after the end of the queue.
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
	r.relay.flow.toClient.inject(defaultWindow) // as an answer would
	r.relay.mutex.Unlock()
	r.client.request(1, "/relayed", false)
	r.server.expectRequest(1, "/relayed", false)
	r.server.headers(1, false, ":status=200")
	r.server.data(1, false, "answer")
	r.server.headers(1, true, "grpc-status=8")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.server.send(frameOf(0xfa, 0, 0, "queued")) // otherwise the trailer may come after the queue
	r.client.expect(`0xfa 0 flags=0 "queued"`)
	r.client.windowUpdate(0, 1000)
	r.client.expect(dataLine(1, false, "answer"), headersLine(1, true, "grpc-status=8"))
	await(t, "the observer is called", ended)
	r.server.reset(1, http2.ErrCodeNo)
	r.server.send(frameOf(0xfa, 0, 0, "reset"))
	r.client.expect(`0xfa 0 flags=0 "reset"`)
	close(release)
	r.client.expect("RST_STREAM 1 NO_ERROR")
	eventually(t, "nothing is kept", func() bool { requests, _ := r.buffered(); return requests == 0 })
}
