package frames

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// beginRestored sends a request with a restoration, and the first header block of its answer.
func (r *fixture) beginRestored(id uint32, fields ...string) {
	r.t.Helper()
	r.client.request(id, "/intercepted/restored", false)
	r.client.data(id, true, "?")
	r.server.expectRequest(id, "/intercepted/restored", false)
	r.server.expect(dataLine(id, true, "?"))
	fields = append([]string{":status=200"}, fields...)
	r.server.headers(id, false, fields...)
	r.client.expect(headersLine(id, false, fields...))
}

// stuckAnswer queues a restored answer. The client's window has room for its first byte only.
func (r *fixture) stuckAnswer(id uint32) {
	r.t.Helper()
	r.beginRestored(id)
	r.server.data(id, false, "12345")
	r.server.headers(id, true, "grpc-status=0", "some=field")
	r.client.expect(dataLine(id, false, "1"))
}

// An answer that waits for the client's window does not block other streams.
func TestWaitingAnswerHoldsUpNothing(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	r.server.ignoreCredit = true
	r.stuckAnswer(1)
	r.server.ping("12345678", false)
	r.client.expect("PING 12345678")
	for id := uint32(3); id < 9; id += 2 { // with a field that is in the server's table, but not in the client's
		r.client.request(id, "/relayed", true)
		r.server.expectRequest(id, "/relayed", true)
		r.server.headers(id, false, ":status=200", "some=field", "!secret=field")
		r.server.data(id, false, "a")
		r.server.headers(id, true, "grpc-status=0", "some=field")
		r.client.expect(headersLine(id, false, ":status=200", "some=field", "!secret=field"),
			dataLine(id, false, "a"), headersLine(id, true, "grpc-status=0", "some=field"))
	}
	r.client.windowUpdate(1, 100)
	r.client.expect(dataLine(1, false, "234512345"), headersLine(1, true, "grpc-status=0", "some=field"))
	r.client.windowUpdate(0, 5)
	r.syncPeers()
}

// A restorer that has to wait does not block other streams.
func TestBlockingRestoreHoldsUpNothing(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	r := newFixture(t, answerWith("handled"))
	r.restore = func(ctx context.Context, of Answered, mayBlock bool) (Restored, error) {
		if !mayBlock {
			return Restored{}, ErrWouldBlock
		}
		close(asked)
		select {
		case <-release:
			return Restored{Body: []byte("restored")}, nil
		case <-ctx.Done():
			return Restored{}, ctx.Err()
		}
	}
	r.open()
	r.beginRestored(1)
	r.server.data(1, false, "answer")
	r.server.headers(1, true, "grpc-status=0")
	await(t, "the second call of the restorer", asked)
	r.server.ping("12345678", false)
	r.client.expect("PING 12345678")
	r.relayCall(3)
	close(release)
	r.client.expect(dataLine(1, false, "restored"), headersLine(1, true, "grpc-status=0"))
}

// The context of a restorer is cancelled when the client resets the stream.
func TestBlockingRestoreIsGivenUp(t *testing.T) {
	ended, asked := make(chan error, 1), make(chan struct{})
	r := newFixture(t, answerWith("handled"))
	r.restore = func(ctx context.Context, _ Answered, mayBlock bool) (Restored, error) {
		if mayBlock {
			close(asked)
			<-ctx.Done()
			ended <- ctx.Err()
		}
		return Restored{}, ErrWouldBlock
	}
	r.open()
	r.beginRestored(1)
	r.server.data(1, true, "answer")
	await(t, "the second call of the restorer", asked)
	r.client.reset(1, http2.ErrCodeCancel)
	if err := await(t, "the end of the restorer's context", ended); err == nil {
		t.Error("the context has no error")
	}
	r.server.expect("RST_STREAM 1 CANCEL")
	r.relayCall(3)
}

// A restorer can replace the trailer of an answer.
func TestRestoredTrailer(t *testing.T) {
	r := newFixture(t, answerWith("handled"))
	r.restore = func(context.Context, Answered, bool) (Restored, error) {
		return Restored{Trailer: []hpack.HeaderField{{Name: "grpc-status", Value: "13"}}}, nil
	}
	r.open()
	r.beginRestored(1)
	r.server.data(1, false, "answer")
	r.server.headers(1, true, "grpc-status=0")
	r.client.expect(headersLine(1, true, "grpc-status=13"))
	r.relayCall(3)
}

// The end of an answer is forwarded, whichever frame ends it.
func TestEndOfRestoredAnswer(t *testing.T) {
	tests := map[string]struct {
		send func(*peer)
		want []string
	}{
		"empty DATA after HEADERS": {func(p *peer) { p.data(1, true, "") }, []string{dataLine(1, true, "")}},
		"empty DATA after DATA":    {func(p *peer) { p.data(1, false, "a"); p.data(1, true, "") }, []string{dataLine(1, true, "aa")}},
		"trailers after HEADERS":   {func(p *peer) { p.headers(1, true, "a=b") }, []string{headersLine(1, true, "a=b")}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, answerWith("handled")).open()
			r.beginRestored(1)
			test.send(r.server)
			r.client.expect(test.want...)
			r.expectOutcome(Complete, 0)
			r.relayCall(3)
		})
	}
}

// A restorer does not get the header block of an interim answer. The client does not get a
// content-length that may be wrong.
func TestHeaderOfRestoredAnswer(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.client.request(1, "/intercepted/restored", false)
	r.client.data(1, true, "?")
	r.server.expectRequest(1, "/intercepted/restored", false)
	r.server.expect(dataLine(1, true, "?"))
	r.server.headers(1, false, ":status=103", "mark=no")
	r.server.headers(1, false, ":status=200", "mark=m", "content-length=1")
	r.client.expect(headersLine(1, false, ":status=103", "mark=no"), headersLine(1, false, ":status=200", "mark=m"))
	r.server.data(1, true, "a")
	r.client.expect(dataLine(1, true, "maa"))
	r.relayCall(3)
}

// The server gets credit for the padding of collected answers, too.
func TestPaddingOfRestoredAnswers(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.server.ignoreCredit = true
	sent := 0
	for i := range 400 {
		id := uint32(2*i + 1)
		r.beginRestored(id)
		r.server.check("DATA", r.server.framer.WriteDataPadded(id, false, []byte("ab"), make([]byte, 199)))
		r.server.headers(id, true, "grpc-status=0")
		r.client.expect(dataLine(id, false, "abab"), headersLine(id, true, "grpc-status=0"))
		sent += 4
	}
	r.client.windowUpdate(0, uint32(sent))
	r.syncPeers()
	r.relay.mutex.Lock()
	defer r.relay.mutex.Unlock()
	if r.relay.flow.toClient != newRelayWindow(defaultWindow) {
		t.Errorf("the window of the connection is %+v", r.relay.flow.toClient)
	}
}

// After a reset of a restored answer by either side, the server can send as much as the client
// accepts.
func TestNoDebtAfterRestoredCallIsGivenUp(t *testing.T) {
	for name, giveUp := range map[string]func(*fixture){
		"by the client": func(r *fixture) { r.client.reset(1, http2.ErrCodeCancel) },
		"by the server": func(r *fixture) { r.server.reset(1, http2.ErrCodeCancel) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, answerWith("handled")).open()
			r.server.ignoreCredit = true
			r.beginRestored(1)
			for left := defaultWindow; left > 0; left -= defaultMaxFrame {
				r.server.data(1, false, strings.Repeat("x", min(left, defaultMaxFrame)))
			}
			r.syncPeers()
			giveUp(r)
			eventually(t, "the end of the request", func() bool {
				requests, bodies := r.buffered()
				return requests == 0 && bodies == 0
			})
			eventually(t, "the server's credit", func() bool {
				r.relay.mutex.Lock()
				defer r.relay.mutex.Unlock()
				return r.relay.flow.toClient.sender > defaultWindow/2 && r.relay.flow.toClient.available() == defaultWindow
			})
		})
	}
}

// If the server resets a stream after its complete answer (RFC 9113, 8.1), the client still
// gets the queued answer before the reset.
func TestResetAfterAnswer(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	r.server.ignoreCredit = true
	r.stuckAnswer(1)
	r.server.reset(1, http2.ErrCodeNo)
	r.client.windowUpdate(1, 100)
	r.client.expect(dataLine(1, false, "234512345"), headersLine(1, true, "grpc-status=0", "some=field"), "RST_STREAM 1 NO_ERROR")
	r.relayOneByteCall(3)
}

// If the server resets a stream before the end of its answer, the queued part is dropped.
func TestResetWithinHeldAnswer(t *testing.T) {
	r := newFixture(t, answerWith(strings.Repeat("x", defaultWindow-3))).open()
	r.client.request(1, "/intercepted", true)
	r.client.expect(headersLine(1, false, ":status=200"))
	r.client.expectData(1, false, strings.Repeat("x", defaultWindow-3))
	r.client.expect(headersLine(1, true, "!grpc-status=0"))
	r.client.request(3, "/relayed", true)
	r.server.expectRequest(3, "/relayed", true)
	r.server.headers(3, false, ":status=200")
	r.server.data(3, false, "12345")
	r.client.expect(headersLine(3, false, ":status=200"), dataLine(3, false, "123"))
	r.server.reset(3, http2.ErrCodeInternal)
	r.client.expect("RST_STREAM 3 INTERNAL_ERROR")
	r.client.windowUpdate(0, defaultWindow)
	r.server.expect(fmt.Sprintf("WINDOW_UPDATE 0 %d", 5)) // the injected bytes are subtracted
	r.relayOneByteCall(5)
}

// relayOneByteCall relays a request and its answer of one byte.
func (r *fixture) relayOneByteCall(id uint32) {
	r.t.Helper()
	r.client.request(id, "/relayed", true)
	r.server.expectRequest(id, "/relayed", true)
	r.server.headers(id, false, ":status=200")
	r.server.data(id, true, "a")
	r.client.expect(headersLine(id, false, ":status=200"), dataLine(id, true, "a"))
}

// An answer that exceeds the limit is forwarded without being restored, and the connection
// stays open.
func TestRestoredAnswerThatIsTooLarge(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	r.server.ignoreCredit = true
	r.client.windowUpdate(0, 1<<30)
	r.beginRestored(1)
	piece := strings.Repeat("x", 1<<20)
	var sending sync.WaitGroup
	sending.Go(func() {
		for range bufferLimit>>20 + 1 {
			_ = r.server.framer.WriteData(1, false, []byte(piece))
		}
		_ = r.server.framer.WriteData(1, false, []byte("the rest"))
		_ = r.server.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.server.encode("grpc-status=0"), EndHeaders: true, EndStream: true})
	})
	for range bufferLimit>>20 + 1 {
		r.client.expectData(1, false, piece)
	}
	r.client.expectData(1, false, "the rest")
	r.client.expect(headersLine(1, true, "grpc-status=0"))
	sending.Wait()
	r.expectOutcome(Complete, 0)
	eventually(t, "the call of Restoration.Skipped", func() bool {
		requests, bodies := r.buffered()
		return r.skipped.Load() == 1 && requests == 0 && bodies == 0
	})
	r.relayCall(3)
}
