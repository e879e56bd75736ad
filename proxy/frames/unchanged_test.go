package frames

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// newRestoringFixture returns a fixture that restores answers unless they begin with "known".
func newRestoringFixture(t *testing.T, handler Handler) *fixture {
	t.Helper()
	r := newFixture(t, handler)
	r.unchanged = func(beginning []byte) bool { return strings.HasPrefix(string(beginning), "known") }
	return r
}

// ask sends a request with a restoration, and the first header block of its answer.
func (r *fixture) ask(id uint32, path string) {
	r.t.Helper()
	r.client.request(id, path, false)
	r.client.data(id, true, "ask")
	r.server.expectRequest(id, path, false)
	r.server.expect(dataLine(id, true, "ask"))
	r.server.headers(id, false, ":status=200")
	r.client.expect(headersLine(id, false, ":status=200"))
}

// forEachRestored runs a test for Plan.Restore and for Plan.Restoration. request is the body
// that the restorer gets. It is empty for Plan.Restore, which gets the body itself.
func forEachRestored(t *testing.T, test func(t *testing.T, path, request string)) {
	for path, request := range map[string]string{"/intercepted/restored": "", "/relayed/restored": "ask"} {
		t.Run(path, func(t *testing.T) { test(t, path, request) })
	}
}

// If Restoration.Unchanged returns true for the first DATA frame, the answer is forwarded frame
// by frame. Otherwise it is collected and changed.
func TestUnchangedAnswer(t *testing.T) {
	forEachRestored(t, func(t *testing.T, path, request string) {
		r := newRestoringFixture(t, answerWith("handled")).open()
		r.ask(1, path)
		r.server.data(1, false, "known")
		r.client.expect(dataLine(1, false, "known"))
		r.server.data(1, false, "and more")
		r.client.expect(dataLine(1, false, "and more"))
		r.server.headers(1, true, "grpc-status=0")
		r.client.expect(headersLine(1, true, "grpc-status=0"))
		r.expectOutcome(Complete, 0)
		r.expectWatched("ask", "knownand more")
		r.client.windowUpdate(0, 13)
		r.server.expect("WINDOW_UPDATE 0 13")
		for i, first := range []string{"", "new", "kno"} {
			id := uint32(2*i + 3)
			r.ask(id, path)
			r.server.data(id, false, first)
			r.server.data(id, true, "known") // not the first DATA frame
			r.client.expect(dataLine(id, true, request+first+"known"+first+"known"))
			r.expectOutcome(Complete, 0)
		}
		r.ask(9, path)
		r.server.check("padded DATA", r.server.framer.WriteDataPadded(9, true, []byte("known"), make([]byte, 3)))
		r.client.expect(dataLine(9, true, "known") + " padding=3")
		r.expectOutcome(Complete, 0)
		if requests, bodies := r.buffered(); requests != 0 || bodies != 0 {
			t.Errorf("%d requests and %d bytes are still held", requests, bodies)
		}
		r.relayCall(11)
	})
}

// If an answer may be forwarded unchanged, the server gets the credit that the client gave
// before the request was relayed. The client may not give any more.
func TestUnchangedAnswerHasItsCredit(t *testing.T) {
	r := newRestoringFixture(t, answerWith("handled")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8})
	r.client.request(1, "/intercepted/restored", false)
	r.client.windowUpdate(1, 100)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/intercepted/restored", false)
	r.server.expect(dataLine(1, true, "ask"), "WINDOW_UPDATE 1 100")
	r.server.headers(1, false, ":status=200")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.server.data(1, true, "known"+strings.Repeat("x", 103))
	r.client.expectData(1, true, "known"+strings.Repeat("x", 103))
	r.expectOutcome(Complete, 0)
}

// An unchanged answer waits for the client's credit if injected bytes have used up the window.
func TestUnchangedAnswerWaitsForRoom(t *testing.T) {
	forEachRestored(t, func(t *testing.T, path, _ string) {
		r := newRestoringFixture(t, answerWith(strings.Repeat("h", defaultWindow-10))).open()
		r.client.request(1, "/intercepted", true)
		r.client.expect(headersLine(1, false, ":status=200"))
		r.client.expectData(1, false, strings.Repeat("h", defaultWindow-10))
		r.client.expect(headersLine(1, true, "!grpc-status=0"))
		r.ask(3, path)
		r.server.data(3, false, "known and more")
		r.server.headers(3, true, "grpc-status=0")
		r.client.expect(dataLine(3, false, "known and "))
		r.client.windowUpdate(0, 4)
		r.client.expect(dataLine(3, false, "more"), headersLine(3, true, "grpc-status=0"))
		r.expectOutcome(Complete, 0)
	})
}

// A reset by the client ends the request, before and after the call of Restoration.Unchanged.
func TestResetOfUnchangedAnswer(t *testing.T) {
	forEachRestored(t, func(t *testing.T, path, _ string) {
		r := newRestoringFixture(t, answerWith("handled")).open()
		for i, first := range []string{"", "new", "known"} {
			id := uint32(2*i + 1)
			r.ask(id, path)
			if first != "" {
				r.server.data(id, false, first)
			}
			if first == "known" {
				r.client.expect(dataLine(id, false, first))
			}
			r.syncPeers()
			r.client.reset(id, http2.ErrCodeCancel)
			r.server.expect(fmt.Sprintf("RST_STREAM %d CANCEL", id))
			r.expectOutcome(ClientReset, http2.ErrCodeCancel)
			if requests, bodies := r.buffered(); requests != 0 || bodies != 0 {
				t.Errorf("%d requests and %d bytes are still held", requests, bodies)
			}
		}
		r.relayCall(7)
	})
}

// With Plan.Restoration, the bodies of several requests may arrive interleaved.
func TestRestoreWithTheRequest(t *testing.T) {
	r := newRestoringFixture(t, answerWith("handled")).open()
	r.client.request(1, "/relayed/restored", false)
	r.server.expectRequest(1, "/relayed/restored", false)
	for _, piece := range []string{"one", "two", "three"} {
		r.client.data(1, piece == "three", piece)
		r.server.expect(dataLine(1, piece == "three", piece))
	}
	r.client.request(3, "/relayed", false)
	r.server.expectRequest(3, "/relayed", false)
	r.client.data(3, false, "overwritten overwritten")
	r.server.expect(dataLine(3, false, "overwritten overwritten"))
	r.server.headers(1, false, ":status=200")
	r.server.data(1, false, ".")
	r.server.headers(1, true, "grpc-status=0")
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, false, "onetwothree.."), headersLine(1, true, "grpc-status=0"))
	r.expectOutcome(Complete, 0)
	r.expectWatched("onetwothreeoverwritten overwritten", "onetwothree..")

	// The answer is complete before the request has ended.
	r.client.request(5, "/relayed/restored", false)
	r.server.expectRequest(5, "/relayed/restored", false)
	r.server.headers(5, false, ":status=200")
	r.server.data(5, true, ".")
	r.client.expect(headersLine(5, false, ":status=200"), dataLine(5, true, ".."))
	r.expectOutcome(Complete, 0)
	r.client.data(5, true, "late")
	r.server.expect(dataLine(5, true, "late"))
	if requests, bodies := r.buffered(); requests != 1 || bodies != 0 {
		t.Errorf("%d requests and %d bytes are still held", requests, bodies)
	}
}

// If a request exceeds the limit, its answer is forwarded without being restored.
func TestRestoreOfTooLargeRequest(t *testing.T) {
	r := newRestoringFixture(t, answerWith("handled")).open()
	r.relay.mutex.Lock()
	r.relay.buffered += bufferLimit - 2
	r.relay.mutex.Unlock()
	r.client.request(1, "/relayed/restored", false)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/relayed/restored", false)
	r.server.expect(dataLine(1, true, "ask"))
	r.server.headers(1, false, ":status=200")
	r.server.data(1, true, ".")
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, true, "."))
	r.expectOutcome(Complete, 0)
	if skipped := r.skipped.Load(); skipped != 1 {
		t.Errorf("%d answers were skipped", skipped)
	}
	if _, bodies := r.buffered(); bodies != bufferLimit-2 {
		t.Errorf("%d bytes are still buffered", bodies-bufferLimit+2)
	}
}
