package frames

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The relay keeps as many bytes of the client's credit as it has injected, and forwards the
// rest to the server.
func TestAnswersAreKeptFromServersWindow(t *testing.T) {
	r := newFixture(t, answerWith(strings.Repeat("x", 1000))).open()
	r.client.request(1, "/intercepted", true)
	r.client.expectAnswer(1, strings.Repeat("x", 1000))
	r.client.windowUpdate(0, 400)
	r.syncPeers()
	r.client.windowUpdate(0, 700)
	r.server.expect("WINDOW_UPDATE 0 100")
	r.client.windowUpdate(0, 50)
	r.server.expect("WINDOW_UPDATE 0 50")
}

// DATA from the server that exceeds the client's window is queued and split.
func TestDataBeyondClientsWindow(t *testing.T) {
	tests := map[string]struct {
		content string
		padding int
	}{
		"plain":        {strings.Repeat("d", 10_000), -1},
		"padded":       {strings.Repeat("d", 10_000), 200},
		"only padding": {"", 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			const left = 100
			answer := strings.Repeat("x", defaultWindow-left)
			r := newFixture(t, answerWith(answer)).open()
			r.client.request(1, "/relayed", true)
			r.server.expectRequest(1, "/relayed", true)
			r.client.request(3, "/intercepted", true)
			r.client.expect(headersLine(3, false, ":status=200"))
			r.client.expectData(3, false, answer)
			r.client.expect(headersLine(3, true, "!grpc-status=0"))

			r.server.headers(1, false, ":status=200")
			r.client.expect(headersLine(1, false, ":status=200"))
			if test.padding < 0 {
				r.server.data(1, true, test.content)
			} else {
				r.server.check("DATA", r.server.framer.WriteDataPadded(1, false, []byte(test.content), make([]byte, test.padding)))
				eventually(t, "the credit for the padding", func() bool {
					r.relay.mutex.Lock()
					defer r.relay.mutex.Unlock()
					return r.relay.relayed[1].window.pendingCredit() == test.padding+1
				})
				r.client.windowUpdate(1, 10)
				r.server.expect("WINDOW_UPDATE 1 211") // 10 bytes and the padding of 201
				r.server.data(1, true, "")
			}
			if test.content == "" {
				r.client.expectData(1, true, "")
				r.client.windowUpdate(0, defaultWindow)
				r.server.expect(fmt.Sprintf("WINDOW_UPDATE 0 %d", left+201)) // without the injected bytes
				return
			}
			r.client.expectData(1, false, test.content[:left])
			r.client.windowUpdate(0, 7)
			r.client.expectData(1, false, test.content[:7])
			r.client.windowUpdate(0, defaultWindow)
			r.client.expectData(1, true, test.content[left+7:])
			// The client's credit without the injected bytes, and the padding.
			r.server.expect(fmt.Sprintf("WINDOW_UPDATE 0 %d", left+7+max(0, test.padding+1)))
		})
	}
}

// An answer keeps to the window of its stream while the client changes the window.
func TestStreamWindowOfAnswer(t *testing.T) {
	window := func(size uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: size}
	}
	r := newFixture(t, answerWith("0123456789abcdefghij")).open(window(0))
	r.client.request(1, "/intercepted", true)
	r.client.expect(headersLine(1, false, ":status=200"))
	r.client.windowUpdate(1, 3)
	r.client.expect(dataLine(1, false, "012"))
	r.changeSettings(r.client, window(2))
	r.client.expect(dataLine(1, false, "34"))
	r.changeSettings(r.client, window(0)) // the window is -2 now
	r.client.windowUpdate(1, 2)
	r.syncPeers()
	r.client.windowUpdate(1, 1)
	r.client.expect(dataLine(1, false, "5"))
	r.changeSettings(r.client, window(100))
	r.client.expect(dataLine(1, false, "6789abcdefghij"), headersLine(1, true, "!grpc-status=0"))
	r.syncPeers() // the server gets no WINDOW_UPDATE of the intercepted stream
}

// The relay gives the client credit for an intercepted request, because the server does not
// know its stream.
func TestUploadOfInterceptedRequest(t *testing.T) {
	window := func(size uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: size}
	}
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.request(1, "/intercepted", false)
	r.client.data(1, false, "abc")
	r.client.expect("WINDOW_UPDATE 1 3")
	r.server.settings(window(0))
	r.client.expect("SETTINGS INITIAL_WINDOW_SIZE=0", "WINDOW_UPDATE 1 65535")
	r.client.acknowledge()
	r.server.expect("SETTINGS ack")

	r.client.request(3, "/intercepted", false)
	r.client.expect("WINDOW_UPDATE 3 65535")
	r.changeSettings(r.server, window(1_000_000))
	r.syncPeers()
	r.client.data(1, false, strings.Repeat("x", creditLimit)) // enough for urgent credit of the connection
	r.client.expectCredit(map[uint32]int{1: creditLimit, 0: creditLimit + 3})
	r.client.data(1, true, "")
	r.client.expectAnswer(1, "intercepted")
	r.client.reset(3, http2.ErrCodeCancel)
	r.syncPeers()
}

// The client gets the credit for DATA of requests that it resets.
func TestCreditOfAbandonedRequests(t *testing.T) {
	ended := make(chan error, 1)
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		if _, err := x.Receive(ctx, 5000); err != nil {
			t.Errorf("Receive: %v", err)
		}
		<-ctx.Done()
		ended <- x.End(nil)
	}).open()
	for id := uint32(1); id < 7; id += 2 {
		r.client.request(id, "/intercepted", false)
		r.client.data(id, false, strings.Repeat("x", 5000))
		r.client.expectCredit(map[uint32]int{id: 5000})
		r.client.reset(id, http2.ErrCodeCancel)
		_ = await(t, "the end of the handler", ended)
	}
	r.client.request(7, "/intercepted", false)
	r.client.data(7, false, strings.Repeat("x", 5000))
	r.client.expectCredit(map[uint32]int{7: 5000, 0: 20_000})
}

// DATA of an answer that is not sent does not use the client's windows.
func TestWindowOfAbandonedAnswer(t *testing.T) {
	ready, ended := make(chan struct{}), make(chan error, 1)
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		x.Header(nil)
		if err := x.Data(ctx, make([]byte, 5000)); err != nil {
			t.Errorf("Data: %v", err)
		}
		close(ready)
		<-ctx.Done()
		ended <- x.End(nil)
	}).open()
	r.client.request(1, "/intercepted", true)
	await(t, "the answer of the handler", ready)
	r.client.reset(1, http2.ErrCodeCancel)
	_ = await(t, "the end of the handler", ended)
	r.client.windowUpdate(0, 100)
	r.server.expect("WINDOW_UPDATE 0 100")
	r.relayCall(3)
}

// A body that exceeds the limit is dropped, with credit for the client, and Receive fails. An
// answer that has begun is still sent.
func TestBodyLimit(t *testing.T) {
	received := make(chan error, 1)
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		if _, err := x.Receive(ctx, 1); err != nil {
			t.Errorf("Receive: %v", err)
		}
		sent := make(chan error, 1)
		go func() { sent <- x.Data(ctx, []byte("answer")) }() // blocks for the client's window
		if err := <-sent; err != nil {
			t.Errorf("Data: %v", err)
		}
		_, err := x.Receive(ctx, requestBodyLimit+1)
		received <- err
		_ = x.End([]hpack.HeaderField{{Name: "a", Value: "b"}})
	}).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.client.request(1, "/intercepted", false)
	piece := strings.Repeat("x", 1<<20)
	credit := map[uint32]int{} // outstanding credit, which may stay above 0 for the connection
	for range requestBodyLimit>>20 + 2 {
		r.client.data(1, false, piece)
		credit[0] += len(piece)
		credit[1] += len(piece)
		r.client.expectCredit(credit)
	}
	r.client.windowUpdate(1, 100)
	lines := map[string]bool{}
	for len(lines) < 3 {
		if line := r.client.read(); !strings.HasPrefix(line, "WINDOW_UPDATE 0") {
			lines[line] = true
		}
	}
	for _, want := range []string{dataLine(1, false, "answer"), headersLine(1, true, "!a=b"), "RST_STREAM 1 NO_ERROR"} {
		if !lines[want] {
			t.Errorf("got %v, want %s", lines, want)
		}
	}
	if err := await(t, "the failure of Receive", received); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Receive: %v, want ErrTooLarge", err)
	}
}

// An answer keeps to a window that becomes smaller before the answer is written. The client need
// not accept more after the acknowledgement.
func TestWindowBecomesSmallerBeforeTheAnswer(t *testing.T) {
	ready, release := make(chan struct{}), make(chan struct{})
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		x.Header([]hpack.HeaderField{{Name: ":status", Value: "200"}})
		if err := x.Data(ctx, []byte("12345678")); err != nil {
			t.Errorf("Data: %v", err)
		}
		close(ready)
		<-release
		if err := x.End([]hpack.HeaderField{{Name: "grpc-status", Value: "0"}}); err != nil {
			t.Errorf("End: %v", err)
		}
	}).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	r.client.request(1, "/intercepted", true)
	await(t, "the answer of the handler", ready)
	r.changeSettings(r.client, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	close(release)
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, false, "123"))
	r.client.windowUpdate(1, 100)
	r.client.expect(dataLine(1, false, "45678"), headersLine(1, true, "!grpc-status=0"))
}

// If the deadline of a handler ends Data, its unsent part is dropped, and End still sends the
// trailer.
func TestDeadlineOfAnswerWithoutRoom(t *testing.T) {
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		x.Header([]hpack.HeaderField{{Name: ":status", Value: "200"}})
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if err := x.Data(ctx, []byte("12345678")); !errors.Is(err, context.Canceled) {
			t.Errorf("Data: %v", err)
		}
		_ = x.End([]hpack.HeaderField{{Name: "grpc-status", Value: "4"}})
	}).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	r.client.request(1, "/intercepted", true)
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, false, "123"), headersLine(1, true, "!grpc-status=4"))
	eventually(t, "the release of all requests", func() bool { requests, bodies := r.buffered(); return requests == 0 && bodies == 0 })
}

// An invalid WINDOW_UPDATE for an intercepted request resets its stream (RFC 9113, 6.9).
func TestUnlawfulCreditForInterceptedRequest(t *testing.T) {
	for name, test := range map[string]struct {
		increment uint32
		code      string
	}{"nothing": {0, "PROTOCOL_ERROR"}, "too much": {1<<31 - 1, "FLOW_CONTROL_ERROR"}} {
		t.Run(name, func(t *testing.T) {
			handler, _ := blockedHandler()
			r := newFixture(t, handler).open()
			r.client.request(1, "/intercepted", true)
			r.client.windowUpdate(1, test.increment)
			r.client.expect("RST_STREAM 1 " + test.code)
			r.relayCall(3)
		})
	}
}
