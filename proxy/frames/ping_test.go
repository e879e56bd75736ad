package frames

import (
	"context"
	"testing"

	"golang.org/x/net/http2"
)

// Pings pass, but for one that only an answer of the relay's has led to.
func TestPings(t *testing.T) {
	r := newRig(t, answerWith("taken")).open()
	passes := func() {
		t.Helper()
		r.client.ping("12345678", false)
		r.server.expect("PING 12345678")
		r.server.ping("12345678", true)
		r.client.expect("PING ack 12345678")
	}
	passes()
	passes()
	r.client.request(1, "/taken", true)
	r.client.expectAnswer(1, "taken")
	for range 3 {
		r.client.ping("12345678", false)
		r.client.expect("PING ack 12345678")
	}
	r.works(3)
	passes()
	passes()

	r.server.ping("12345678", false)
	r.client.expect("PING 12345678")
	r.client.ping("12345678", true)
	r.server.expect("PING ack 12345678")
	r.client.ping("leaving!", true) // nobody has asked for it
	r.server.expect("PING ack leaving!")
}

// The first frame that the client gets is the server's SETTINGS (RFC 9113, 3.4), however
// soon an answer is there.
func TestServersSettingsComeFirst(t *testing.T) {
	answered := make(chan struct{})
	r := newRig(t, func(ctx context.Context, x *Exchange) {
		close(answered)
		answerWith("taken")(ctx, x)
	})
	r.client.raw([]byte(http2.ClientPreface))
	r.client.settings()
	r.client.request(1, "/taken", false)
	r.client.data(1, false, "body")
	r.client.data(1, true, "")
	r.client.request(3, "/relayed", true)
	r.server.readPreface()
	r.server.expect("SETTINGS")
	r.server.expectRequest(3, "/relayed", true)
	await(t, "the request is answered", answered)
	r.server.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 9})
	r.client.expect("SETTINGS MAX_CONCURRENT_STREAMS=9")
	got := map[string]bool{}
	for range 5 {
		got[r.client.read()] = true
	}
	for _, want := range []string{"WINDOW_UPDATE 1 4", headersLine(1, false, ":status=200"), dataLine(1, false, "taken"),
		headersLine(1, true, "!grpc-status=0"), "WINDOW_UPDATE 0 4"} {
		if !got[want] {
			t.Errorf("the client got %v, want %s", got, want)
		}
	}
}
