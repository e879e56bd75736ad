package frames

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A client may reset the stream of an intercepted request at any point. The handler gets an
// error, the server gets no frame, and the connection stays open.
func TestResetOfInterceptedRequest(t *testing.T) {
	ok := []hpack.HeaderField{{Name: ":status", Value: "200"}}
	tests := map[string]struct {
		body    func(*peer)
		handler func(context.Context, *Exchange) error
		answer  []string // frames before the reset
		credit  []string // frames after the next answer
	}{
		"before the body": {},
		"in the body": {
			body: func(p *peer) { p.data(1, false, "abc"); p.expect("WINDOW_UPDATE 1 3") },
			handler: func(ctx context.Context, x *Exchange) error {
				_, err := x.Receive(context.WithoutCancel(ctx), 4)
				return err
			},
			credit: []string{"WINDOW_UPDATE 0 3"},
		},
		"while the handler runs": {
			body:    func(p *peer) { p.data(1, true, "abc") },
			handler: func(ctx context.Context, _ *Exchange) error { <-ctx.Done(); return ctx.Err() },
			credit:  []string{"WINDOW_UPDATE 0 3"},
		},
		"after the header": {
			body: func(p *peer) { p.data(1, true, "") },
			handler: func(ctx context.Context, x *Exchange) error {
				x.Header(ok)
				_ = x.Flush()
				<-ctx.Done()
				return x.Data(ctx, []byte("too late"))
			},
			answer: []string{headersLine(1, false, ":status=200")},
		},
		"in the data": {
			body: func(p *peer) { p.data(1, true, "") },
			handler: func(ctx context.Context, x *Exchange) error {
				x.Header(ok)
				return x.Data(context.WithoutCancel(ctx), make([]byte, 10))
			},
			answer: []string{headersLine(1, false, ":status=200"), dataLine(1, false, strings.Repeat("\x00", 8))},
		},
		"before the trailer": {
			body: func(p *peer) { p.data(1, true, "") },
			handler: func(ctx context.Context, x *Exchange) error {
				x.Header(ok)
				_ = x.Data(ctx, []byte("12345678"))
				_ = x.Flush()
				<-ctx.Done()
				_ = x.End(nil)
				return ctx.Err()
			},
			answer: []string{headersLine(1, false, ":status=200"), dataLine(1, false, "12345678")},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			failed := make(chan error, 1)
			r := newFixture(t, func(ctx context.Context, x *Exchange) {
				if Field(x.Fields(), ":path") == "/intercepted/next" {
					answerWith("next")(ctx, x)
					return
				}
				failed <- test.handler(ctx, x)
			}).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8})
			r.client.request(1, "/intercepted", false)
			if test.body != nil {
				test.body(r.client)
			}
			r.client.expect(test.answer...)
			r.client.reset(1, http2.ErrCodeCancel)
			if test.handler != nil {
				if err := await(t, "the end of the handler", failed); err == nil {
					t.Error("the handler got no error")
				}
			}
			r.client.reset(1, http2.ErrCodeCancel) // a second reset, of a closed stream
			r.client.windowUpdate(1, 5)
			r.client.headers(1, true, "trailer=late")
			r.syncPeers()
			eventually(t, "the release of the request", func() bool { requests, bodies := r.buffered(); return requests == 0 && bodies == 0 })
			r.client.request(3, "/intercepted/next", true)
			r.client.expectAnswer(3, "next")
			r.client.expect(test.credit...)
			r.relayCall(5)
		})
	}
}

// If a handler returns without a complete answer, the stream is reset.
func TestHandlerWithoutAnswer(t *testing.T) {
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		x.Header(nil)
		_ = x.Data(ctx, []byte("never sent"))
	}).open()
	r.client.request(1, "/intercepted", true)
	r.client.expect("RST_STREAM 1 INTERNAL_ERROR")
	r.client.windowUpdate(0, 3)
	r.server.expect("WINDOW_UPDATE 0 3")
}

// If a handler answers before the request has ended, RST_STREAM with NO_ERROR follows the
// answer.
func TestAnswerBeforeRequestsEnd(t *testing.T) {
	release := make(chan struct{})
	r := newFixture(t, func(ctx context.Context, x *Exchange) {
		<-release
		_ = x.End([]hpack.HeaderField{{Name: ":status", Value: "200"}})
	}).open()
	r.client.request(1, "/intercepted", false)
	r.client.data(1, false, "abc")
	r.client.expect("WINDOW_UPDATE 1 3")
	close(release)
	r.client.expect(headersLine(1, true, ":status=200"), "RST_STREAM 1 NO_ERROR", "WINDOW_UPDATE 0 3")
	r.client.data(1, true, strings.Repeat("x", 2*creditLimit))
	r.client.expectCredit(map[uint32]int{0: 2 * creditLimit}) // for DATA of the closed stream
	r.syncPeers()
}

// RST_STREAM of a relayed request is forwarded in both directions. Later DATA of the client is
// dropped, and the client gets credit for it.
func TestResetOfRelayedRequest(t *testing.T) {
	r := newFixture(t, nil).open()
	r.client.request(1, "/relayed", false)
	r.server.expectRequest(1, "/relayed", false)
	r.client.reset(1, http2.ErrCodeCancel)
	r.server.expect("RST_STREAM 1 CANCEL")
	r.expectOutcome(ClientReset, http2.ErrCodeCancel)
	r.server.headers(1, true, ":status=200") // sent before the server read the reset
	r.client.expect(headersLine(1, true, ":status=200"))

	r.client.request(3, "/relayed", false)
	r.server.expectRequest(3, "/relayed", false)
	r.server.headers(3, false, ":status=200")
	r.server.reset(3, http2.ErrCodeRefusedStream)
	r.client.expect(headersLine(3, false, ":status=200"), "RST_STREAM 3 REFUSED_STREAM")
	r.expectOutcome(ServerReset, http2.ErrCodeRefusedStream)
	r.client.data(3, false, strings.Repeat("x", 2*creditLimit))
	r.client.expectCredit(map[uint32]int{0: 2 * creditLimit})
	r.client.windowUpdate(3, 9)
	r.client.headers(3, true, "late=trailer")
	r.client.reset(3, http2.ErrCodeCancel)
	r.syncPeers()

	r.client.request(5, "/relayed", false)
	r.server.expectRequest(5, "/relayed", false)
	r.server.headers(5, true, ":status=200", "grpc-status=5")
	r.server.reset(5, http2.ErrCodeNo) // as the server of grpc-go does
	r.client.expect(headersLine(5, true, ":status=200", "grpc-status=5"), "RST_STREAM 5 NO_ERROR")
	r.expectOutcome(Complete, http2.ErrCodeNo)
	if requests, _ := r.buffered(); requests != 0 {
		t.Errorf("%d requests are still open", requests)
	}
}

// The two directions of a stream end independently.
func TestHalvesOfRequest(t *testing.T) {
	r := newFixture(t, nil).open()
	r.client.request(1, "/relayed", false)
	r.server.expectRequest(1, "/relayed", false)
	r.server.headers(1, true, ":status=200")
	r.client.expect(headersLine(1, true, ":status=200"))
	r.expectOutcome(Complete, http2.ErrCodeNo)
	r.client.data(1, false, "abc")
	r.client.headers(1, true, "trailer=1")
	r.server.expect(dataLine(1, false, "abc"), headersLine(1, true, "trailer=1"))
	r.relayCall(3)
}
