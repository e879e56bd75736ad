package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// A request with a restoration is relayed to the server. The client gets the restored answer
// as one DATA frame.
func TestRestore(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.client.request(1, "/intercepted/restored", false)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/intercepted/restored", false)
	r.server.expect(dataLine(1, true, "ask"))
	r.server.headers(1, false, ":status=200", "mark=m")
	r.client.expect(headersLine(1, false, ":status=200", "mark=m"))
	r.server.data(1, false, "a")
	r.server.data(1, false, "bc")
	r.syncPeers()
	r.server.headers(1, true, "grpc-status=0")
	r.client.expect(dataLine(1, false, "mabcabc"), headersLine(1, true, "grpc-status=0"))
	r.expectOutcome(Complete, 0)
	r.client.windowUpdate(0, 7) // 4 of the 7 bytes make up for injected ones
	r.server.expect("WINDOW_UPDATE 0 3")

	r.client.request(3, "/intercepted/restored", false) // the answer ends with DATA
	r.client.data(3, true, "")
	r.server.expectRequest(3, "/intercepted/restored", false)
	r.server.expect(dataLine(3, true, ""))
	r.server.headers(3, false, ":status=200")
	r.client.expect(headersLine(3, false, ":status=200"))
	r.server.data(3, true, "z")
	r.client.expect(dataLine(3, true, "zz"))
	r.expectOutcome(Complete, 0)

	r.client.request(5, "/intercepted/restored", false) // the answer has no body
	r.client.data(5, true, "ask")
	r.server.expectRequest(5, "/intercepted/restored", false)
	r.server.expect(dataLine(5, true, "ask"))
	r.server.headers(5, true, ":status=200", "grpc-status=5")
	r.client.expect(headersLine(5, true, ":status=200", "grpc-status=5"))
	r.expectOutcome(Complete, 0)
	if requests, bodies := r.buffered(); requests != 0 || bodies != 0 {
		t.Errorf("%d requests and %d bytes are still held", requests, bodies)
	}
	r.relayCall(7)
}

// If a request can no longer be relayed, its handler answers it.
func TestRestoreOnlyWhatCanPass(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.client.request(1, "/intercepted/restored", false)
	r.client.data(1, true, "no")
	r.client.expectAnswer(1, "handled")
	r.client.expect("WINDOW_UPDATE 0 2")

	r.client.request(3, "/intercepted/restored", false) // body in two frames
	r.client.data(3, false, "a")
	r.client.expect("WINDOW_UPDATE 3 1")
	r.client.data(3, true, "sk")
	r.client.expectAnswer(3, "handled")
	r.client.expect("WINDOW_UPDATE 0 3")

	r.client.request(5, "/intercepted/restored", false) // the server sees a later stream first
	r.client.request(7, "/relayed", true)
	r.server.expectRequest(7, "/relayed", true)
	r.client.data(5, true, "ask")
	r.client.expectAnswer(5, "handled")
	r.client.expect("WINDOW_UPDATE 0 3")

	eventually(t, "the end of the handlers", func() bool {
		requests, _ := r.buffered()
		return requests == 1 // the relayed one
	})
	r.changeSettings(r.server, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2}) // smaller than the next body
	r.client.request(9, "/intercepted/restored", false)
	r.client.expect("WINDOW_UPDATE 9 65533")
	r.client.data(9, true, "ask")
	r.client.expectAnswer(9, "handled")
	r.client.expect("WINDOW_UPDATE 0 3")
}

// For a restored answer, the windows of the client and the server are independent.
func TestWindowsOfRestoredAnswer(t *testing.T) {
	window := func(size uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: size}
	}
	r := newFixture(t, answerWith("handled")).open(window(5))
	r.server.ignoreCredit = true
	r.client.request(1, "/intercepted/restored", false)
	r.client.check("padded DATA", r.client.framer.WriteDataPadded(1, true, []byte("ask"), make([]byte, 10)))
	r.server.expectRequest(1, "/intercepted/restored", false)
	r.server.expect(dataLine(1, true, "ask"))
	r.server.headers(1, false, ":status=200")
	r.client.expect(headersLine(1, false, ":status=200"))
	r.client.windowUpdate(1, 1) // not forwarded to the server
	r.syncPeers()
	r.server.data(1, false, "abcde")
	r.server.headers(1, true, "grpc-status=0")
	r.client.expect(dataLine(1, false, "abcdea"))
	r.changeSettings(r.client, window(7))
	r.client.expect(dataLine(1, false, "bc"))
	r.client.windowUpdate(1, 100)
	r.client.expect(dataLine(1, false, "de"), headersLine(1, true, "grpc-status=0"))
	eventually(t, "all credit for the server", func() bool {
		r.relay.mutex.Lock()
		defer r.relay.mutex.Unlock()
		return !r.relay.credit.returning
	})
	r.syncPeers()
	r.server.ignoreCredit = false
	r.client.windowUpdate(0, 10)
	r.server.expect("WINDOW_UPDATE 0 5")

	// An answer that is larger than the windows that the server sees.
	half := strings.Repeat("x", defaultMaxFrame)
	r.client.request(3, "/intercepted/restored", false)
	r.client.data(3, true, "ask")
	r.server.expectRequest(3, "/intercepted/restored", false)
	r.server.expect(dataLine(3, true, "ask"))
	r.server.headers(3, false, ":status=200")
	r.client.expect(headersLine(3, false, ":status=200"))
	for range 6 {
		r.server.data(3, false, half)
		r.server.expect("WINDOW_UPDATE 0 16384", "WINDOW_UPDATE 3 16384")
	}
	r.client.windowUpdate(0, 1<<20)
	r.server.expect("WINDOW_UPDATE 0 1048576")
	r.client.windowUpdate(3, 1<<20)
	r.server.expect("WINDOW_UPDATE 3 1048576")
	r.server.headers(3, true, "grpc-status=0")
	r.client.expectData(3, false, strings.Repeat(half, 12))
	r.client.expect(headersLine(3, true, "grpc-status=0"))
	r.client.windowUpdate(0, 12*defaultMaxFrame)
	r.syncPeers() // the server got this credit before, and the relay keeps it
}

// Both sides can reset the stream of a restored answer while it is collected.
func TestRestoredCallIsGivenUp(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	begin := func(id uint32) {
		r.client.request(id, "/intercepted/restored", false)
		r.client.data(id, true, "ask")
		r.server.expectRequest(id, "/intercepted/restored", false)
		r.server.expect(dataLine(id, true, "ask"))
		r.server.headers(id, false, ":status=200")
		r.client.expect(headersLine(id, false, ":status=200"))
		r.server.data(id, false, "kept")
		r.syncPeers()
	}
	begin(1)
	r.client.reset(1, http2.ErrCodeCancel)
	r.server.expect("RST_STREAM 1 CANCEL")
	r.expectOutcome(ClientReset, http2.ErrCodeCancel)
	r.server.data(1, false, "late") // counts in the client's window
	r.client.expect(dataLine(1, false, "late"))
	r.client.windowUpdate(0, 4)
	r.server.expect("WINDOW_UPDATE 0 8") // includes the collected bytes, which the client did not get

	begin(3)
	r.server.reset(3, http2.ErrCodeInternal)
	r.client.expect("RST_STREAM 3 INTERNAL_ERROR")
	r.expectOutcome(ServerReset, http2.ErrCodeInternal)
	r.relayCall(5)
}

// If the client resets a stream while the restored answer waits for its window, other streams
// continue.
func TestRestoredCallIsGivenUpWhileItIsSent(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8})
	r.server.ignoreCredit = true
	r.client.request(1, "/intercepted/restored", false)
	r.client.data(1, true, "ask")
	r.server.expectRequest(1, "/intercepted/restored", false)
	r.server.expect(dataLine(1, true, "ask"))
	r.server.headers(1, false, ":status=200")
	r.server.data(1, false, "12345")
	r.server.headers(1, true, "grpc-status=0")
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, false, "12345123"))
	r.client.reset(1, http2.ErrCodeCancel)
	r.server.expect("RST_STREAM 1 CANCEL")
	r.expectOutcome(ClientReset, http2.ErrCodeCancel)
	r.relayCall(3)
}
