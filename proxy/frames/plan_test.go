package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// Plan.Watch gets the bodies as the client sends and receives them, without padding, also if
// the answer is restored. It gets no bodies of requests that a handler answers.
func TestWatch(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.client.request(1, "/relayed", false)
	r.client.send(paddedData(1, "ask"))
	r.client.data(1, true, "ing")
	r.server.expectRequest(1, "/relayed", false)
	r.server.headers(1, false, ":status=200")
	r.server.send(paddedData(1, "ans"))
	r.server.data(1, false, "wer")
	r.server.headers(1, true, "grpc-status=0")
	r.expectWatched("asking", "answer")
	r.expectOutcome(Complete, 0)

	r.client.request(3, "/intercepted/restored", false)
	r.client.data(3, true, "+")
	r.server.expect(dataLine(1, false, "ask")+" padding=2", dataLine(1, true, "ing"))
	r.server.expectRequest(3, "/intercepted/restored", false)
	r.server.headers(3, false, ":status=200")
	r.server.data(3, false, "x")
	r.server.headers(3, true, "grpc-status=0")
	r.expectWatched("asking+", "answerxx")
	r.expectOutcome(Complete, 0)

	r.client.request(5, "/intercepted", false)
	r.client.data(5, true, "hidden")
	eventually(t, "the end of the intercepted request", func() bool {
		requests, _ := r.buffered()
		return requests == 0
	})
	r.expectWatched("asking+", "answerxx")
}

// Plan.Watch gets the complete body of an answer that is queued.
func TestWatchSqueezed(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.client.request(1, "/intercepted", true) // its answer uses bytes of the window that the server sees
	eventually(t, "the end of the intercepted request", func() bool {
		requests, _ := r.buffered()
		return requests == 0
	})
	r.client.request(3, "/relayed", true)
	r.server.expectRequest(3, "/relayed", true)
	answer := strings.Repeat("x", defaultWindow)
	r.server.headers(3, false, ":status=200")
	for piece := answer; len(piece) > 0; {
		n := min(len(piece), defaultMaxFrame)
		r.server.data(3, false, piece[:n])
		piece = piece[n:]
	}
	r.expectWatched("", answer)
}

// Plan.Ended is called for an intercepted request even if its handler never starts.
func TestEndedBeforeHandler(t *testing.T) {
	t.Run("the client resets the stream", func(t *testing.T) {
		r := newFixture(t, answerWith("handled")).open()
		r.client.request(1, "/intercepted", false)
		r.client.reset(1, http2.ErrCodeCancel)
		r.expectOutcome(ClientReset, http2.ErrCodeCancel)
	})
	t.Run("the connection ends", func(t *testing.T) {
		r := newFixture(t, answerWith("handled")).open()
		r.client.request(1, "/intercepted", false)
		r.syncPeers()
		r.relay.Close()
		r.expectOutcome(ServerDisconnected, 0)
	})
}

// paddedData returns a DATA frame with two bytes of padding.
func paddedData(stream uint32, content string) []byte {
	payload := append([]byte{2}, content...)
	payload = append(payload, 0, 0)
	frame := header{length: len(payload), kind: http2.FrameData, flags: http2.FlagDataPadded, stream: stream}.append(nil)
	return append(frame, payload...)
}

// Plan.Ended is called once for a request without a running handler, even if both the
// connection and the client end it.
func TestEndedOnce(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.client.request(1, "/intercepted", false)
	r.syncPeers()
	r.relay.mutex.Lock()
	intercepted := r.relay.intercepted[1]
	r.relay.mutex.Unlock()
	r.relay.Close()
	intercepted.cancelByClient(http2.ErrCodeCancel) // RST_STREAM was read before Close
	r.expectOutcome(ServerDisconnected, 0)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.outcomes) > 0 {
		t.Errorf("Plan.Ended was called again: %+v", r.outcomes)
	}
}
