package frames

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// isKnown is a decision on an answer's first DATA frame.
func isKnown(beginning []byte) bool { return strings.HasPrefix(string(beginning), "known") }

// An answer whose first DATA frame shows that it would not be changed passes piece by
// piece. Any other one is collected and changed.
func TestUnchangedAnswer(t *testing.T) {
	r := newRig(t, answerWith("handled"))
	r.unchanged = isKnown
	r.open()
	r.client.request(1, "/taken/restored", false)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/taken/restored", false)
	r.server.expect(dataLine(1, true, "ask"))
	r.server.headers(1, false, ":status=200")
	r.client.expect(headersLine(1, false, ":status=200"))
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
		r.client.request(id, "/taken/restored", false)
		r.client.data(id, true, "ask")
		r.server.expectRequest(id, "/taken/restored", false)
		r.server.expect(dataLine(id, true, "ask"))
		r.server.headers(id, false, ":status=200")
		r.client.expect(headersLine(id, false, ":status=200"))
		r.server.data(id, false, first)
		r.server.data(id, true, "known") // too late
		r.client.expect(dataLine(id, true, first+"known"+first+"known"))
		r.expectOutcome(Complete, 0)
	}
}

// An answer that ends with its only DATA frame.
func TestUnchangedAnswerWithoutTrailer(t *testing.T) {
	r := newRig(t, answerWith("handled"))
	r.unchanged = isKnown
	r.open()
	r.client.request(1, "/taken/restored", false)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/taken/restored", false)
	r.server.expect(dataLine(1, true, "ask"))
	r.server.headers(1, false, ":status=200")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.server.did("padded DATA", r.server.framer.WriteDataPadded(1, true, []byte("known"), make([]byte, 3)))
	r.client.expect(dataLine(1, true, "known") + " padding=3")
	r.expectOutcome(Complete, 0)
	if requests, bodies := r.kept(); requests != 0 || bodies != 0 {
		t.Errorf("%d requests and %d bytes are kept", requests, bodies)
	}
	r.works(3)
}

// The server gets the credit that the client gave before the request was passed on: it may
// be all that the client gives for an answer that passes.
func TestUnchangedAnswerHasItsCredit(t *testing.T) {
	r := newRig(t, answerWith("handled"))
	r.unchanged = isKnown
	r.open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8})
	r.client.request(1, "/taken/restored", false)
	r.client.windowUpdate(1, 100)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/taken/restored", false)
	r.server.expect(dataLine(1, true, "ask"), "WINDOW_UPDATE 1 100")
	r.server.headers(1, false, ":status=200")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.server.data(1, true, "known"+strings.Repeat("x", 103))
	r.client.expectData(1, true, "known"+strings.Repeat("x", 103))
	r.expectOutcome(Complete, 0)
}

// An answer that passes waits, as any other, for room that the relay's own bytes have
// taken.
func TestUnchangedAnswerWaitsForRoom(t *testing.T) {
	r := newRig(t, answerWith(strings.Repeat("h", plainWindow-10)))
	r.unchanged = isKnown
	r.open()
	r.client.request(1, "/taken", true)
	r.client.expect(headersLine(1, false, ":status=200"))
	r.client.expectData(1, false, strings.Repeat("h", plainWindow-10))
	r.client.expect(headersLine(1, true, "!grpc-status=0"))
	r.client.request(3, "/taken/restored", false)
	r.client.data(3, true, "ask")
	r.server.expectRequest(3, "/taken/restored", false)
	r.server.expect(dataLine(3, true, "ask"))
	r.server.headers(3, false, ":status=200")
	r.client.expect(headersLine(3, false, ":status=200"))
	r.server.data(3, false, "known and more")
	r.server.headers(3, true, "grpc-status=0")
	r.client.expect(dataLine(3, false, "known and "))
	r.client.windowUpdate(0, 4)
	r.client.expect(dataLine(3, false, "more"), headersLine(3, true, "grpc-status=0"))
	r.expectOutcome(Complete, 0)
}

// A reset of either side ends the request, whether or not its answer was decided on.
func TestResetOfUnchangedAnswer(t *testing.T) {
	r := newRig(t, answerWith("handled"))
	r.unchanged = isKnown
	r.open()
	for i, first := range []string{"", "known"} {
		id := uint32(2*i + 1)
		r.client.request(id, "/taken/restored", false)
		r.client.data(id, true, "ask")
		r.server.expectRequest(id, "/taken/restored", false)
		r.server.expect(dataLine(id, true, "ask"))
		if first != "" {
			r.server.headers(id, false, ":status=200")
			r.client.expect(headersLine(id, false, ":status=200"))
			r.server.data(id, false, first)
			r.client.expect(dataLine(id, false, first))
		}
		r.client.reset(id, http2.ErrCodeCancel)
		r.server.expect(fmt.Sprintf("RST_STREAM %d CANCEL", id))
		r.expectOutcome(ClientReset, http2.ErrCodeCancel)
	}
	r.works(5)
}
