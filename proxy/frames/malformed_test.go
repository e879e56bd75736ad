package frames

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// A protocol violation ends the connection with the error code of RFC 9113.
func TestMalformedFrames(t *testing.T) {
	request := func(p *peer) string { return string(p.encode(requestOf("/relayed")...)) }
	continuations := func(n int) string {
		return strings.Repeat(string(frameOf(http2.FrameContinuation, 0, 1, "")), n)
	}
	const endHeaders = http2.FlagHeadersEndHeaders
	tests := map[string]struct {
		frames func(p *peer) string
		code   http2.ErrCode
		only   string // the side that must not send the frames; "" for both
	}{
		"HEADERS on stream 0": {frames: func(p *peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 0, request(p)))
		}, code: http2.ErrCodeProtocol, only: "client"},
		"HEADERS on an even stream": {frames: func(p *peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 2, request(p)))
		}, code: http2.ErrCodeProtocol, only: "client"},
		"HEADERS on an earlier stream": {frames: func(p *peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 9, request(p))) +
				string(frameOf(http2.FrameHeaders, endHeaders, 7, request(p)))
		}, code: http2.ErrCodeProtocol, only: "client"},
		"HEADERS with too much padding": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, "\x03ab"))
		}, code: http2.ErrCodeProtocol},
		"HEADERS without their padding": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, ""))
		}, code: http2.ErrCodeProtocol},
		"HEADERS too short for a priority": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders|http2.FlagHeadersPriority, 1, "1234"))
		}, code: http2.ErrCodeFrameSize},
		"HEADERS that are no HPACK": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
		}, code: http2.ErrCodeCompression},
		"HEADERS that end in a field": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 1, "\x40\x05ab"))
		}, code: http2.ErrCodeCompression},
		"HPACK that enlarges the table": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 1, "\x3f\xe2\x1f")) // 4097
		}, code: http2.ErrCodeCompression},
		"HPACK that grows": {frames: func(*peer) string { // adds a field of 4000 bytes to the table, and refers to it many times
			field := "\x40\x01a\x7f\xa1\x1e" + strings.Repeat("b", 4000)
			return string(frameOf(http2.FrameHeaders, endHeaders, 1, field+strings.Repeat("\xbe", 10_000)))
		}, code: http2.ErrCodeEnhanceYourCalm},
		"CONTINUATION of nothing": {frames: func(*peer) string {
			return string(frameOf(http2.FrameContinuation, endHeaders, 1, ""))
		}, code: http2.ErrCodeProtocol},
		"CONTINUATION of another stream": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, 0, 1, "")) + string(frameOf(http2.FrameContinuation, endHeaders, 3, ""))
		}, code: http2.ErrCodeProtocol},
		"PING inside a block": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, 0, 1, "")) + string(frameOf(http2.FramePing, 0, 0, "12345678"))
		}, code: http2.ErrCodeProtocol},
		"CONTINUATION without an end": {frames: func(*peer) string {
			return string(frameOf(http2.FrameHeaders, 0, 1, "")) + continuations(continuationLimit+1)
		}, code: http2.ErrCodeEnhanceYourCalm},
		"a header block without an end": {frames: func(*peer) string {
			piece := strings.Repeat("\x00\x01a\x01b", 3000)
			return string(frameOf(http2.FrameHeaders, 0, 1, piece)) + strings.Repeat(string(frameOf(http2.FrameContinuation, 0, 1, piece)), 70)
		}, code: http2.ErrCodeEnhanceYourCalm},
		"too long a frame": {frames: func(*peer) string {
			return string(header{length: frameLimit + 1, kind: http2.FrameHeaders, stream: 1}.append(nil))
		}, code: http2.ErrCodeFrameSize},
		"too long a frame of an unknown type": {frames: func(*peer) string {
			return string(header{length: frameLimit + 1, kind: 0xfa}.append(nil))
		}, code: http2.ErrCodeFrameSize},
		"WINDOW_UPDATE of nothing": {frames: func(*peer) string {
			return string(frameOf(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00"))
		}, code: http2.ErrCodeProtocol, only: "client"},
		"WINDOW_UPDATE of too much": {frames: func(*peer) string {
			return string(frameOf(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff"))
		}, code: http2.ErrCodeFlowControl, only: "client"},
		"HEADERS longer than the server accepts": {frames: func(p *peer) string {
			return string(frameOf(http2.FrameHeaders, endHeaders, 1, request(p)+strings.Repeat("\x00\x01a\x01b", 4000)))
		}, code: http2.ErrCodeFrameSize, only: "client"},
		"PUSH_PROMISE": {frames: func(*peer) string {
			return string(frameOf(http2.FramePushPromise, endHeaders, 1, "\x00\x00\x00\x02"))
		}, code: http2.ErrCodeProtocol, only: "client"},
		"RST_STREAM of 5 bytes": {frames: func(*peer) string {
			return string(frameOf(http2.FrameRSTStream, 0, 1, "12345"))
		}, code: http2.ErrCodeFrameSize},
		"WINDOW_UPDATE of 3 bytes": {frames: func(*peer) string {
			return string(frameOf(http2.FrameWindowUpdate, 0, 1, "123"))
		}, code: http2.ErrCodeFrameSize, only: "client"},
		"SETTINGS of 7 bytes": {frames: func(*peer) string {
			return string(frameOf(http2.FrameSettings, 0, 0, "1234567"))
		}, code: http2.ErrCodeFrameSize},
		"PING of 9 bytes": {frames: func(*peer) string {
			return string(frameOf(http2.FramePing, 0, 0, "123456789"))
		}, code: http2.ErrCodeFrameSize, only: "client"},
		"GOAWAY of 7 bytes": {frames: func(*peer) string {
			return string(frameOf(http2.FrameGoAway, 0, 0, "1234567"))
		}, code: http2.ErrCodeFrameSize, only: "server"},
	}
	for name, test := range tests {
		for _, from := range []string{"client", "server"} {
			if test.only != "" && test.only != from {
				continue
			}
			t.Run(name+"/"+from, func(t *testing.T) {
				r := newFixture(t, answerWith("intercepted")).open()
				sender := r.client
				if from == "server" {
					sender = r.server
				}
				_, _ = sender.conn.Write([]byte(test.frames(sender))) // the relay may close the connection before the end
				var got string
				for got = sender.read(); strings.HasPrefix(got, "HEADERS"); {
					got = sender.read()
				}
				if !strings.HasPrefix(got, "GOAWAY ") || !strings.HasSuffix(got, test.code.String()) {
					t.Errorf("got %s, want GOAWAY with %v", got, test.code)
				}
				sender.expect("end")
				if err := r.waitEnd(); err == nil {
					t.Error("Run returned no error")
				}
			})
		}
	}
}

// DATA of an intercepted request is checked in the same way.
func TestMalformedDataOfInterceptedRequest(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.request(1, "/intercepted", false)
	r.client.send(frameOf(http2.FrameData, http2.FlagDataPadded, 1, "\x09abc"))
	r.client.expect("GOAWAY 1 PROTOCOL_ERROR", "end")
}

// Requests beyond streamLimit are refused, relayed or intercepted.
func TestStreamLimit(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	go func() {
		for id := uint32(1); id < 2*streamLimit; id += 4 {
			r.client.request(id, "/relayed", false)
			r.client.request(id+2, "/intercepted", false)
		}
	}()
	for id := uint32(1); id < 2*streamLimit; id += 4 {
		r.server.expectRequest(id, "/relayed", false)
	}
	eventually(t, "all requests", func() bool { requests, _ := r.buffered(); return requests == streamLimit })
	const more = 2*streamLimit + 1
	r.client.request(more, "/relayed", true)
	r.client.request(more+2, "/intercepted", true)
	r.client.expect("RST_STREAM 20001 REFUSED_STREAM", "RST_STREAM 20003 REFUSED_STREAM")
	r.client.reset(3, http2.ErrCodeCancel)
	r.client.request(more+4, "/relayed", true)
	r.server.expectRequest(more+4, "/relayed", true)
}

// Unknown frame types and settings are forwarded.
func TestUnknownFramesAndSettings(t *testing.T) {
	r := newFixture(t, nil).open()
	for from, to := range map[*peer]*peer{r.client: r.server, r.server: r.client} {
		from.send(frameOf(0x42, 0x81, 5, "whatever"))
		to.expect(`0x42 5 flags=129 "whatever"`)
		from.settings(http2.Setting{ID: 0xabcd, Val: 77}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
		to.expect("SETTINGS UNKNOWN_SETTING_43981=77 ENABLE_PUSH=0")
		to.acknowledge()
		from.expect("SETTINGS ack")
	}
	r.relayCall(1)
}

// Frames on stream 0 or on an idle stream are forwarded, and the server decides whether they
// are allowed. It knows as much about these streams as the relay.
func TestFramesOnUnusedStreams(t *testing.T) {
	for name, test := range map[string]struct {
		frame []byte
		want  string // "" if the server rejects the frame
	}{
		"DATA on stream 0":                {frameOf(http2.FrameData, 0, 0, "abc"), ""},
		"DATA on an idle stream":          {frameOf(http2.FrameData, 0, 9, "abc"), `DATA 9 "abc"`},
		"RST_STREAM on stream 0":          {frameOf(http2.FrameRSTStream, 0, 0, "\x00\x00\x00\x08"), ""},
		"RST_STREAM on an idle stream":    {frameOf(http2.FrameRSTStream, 0, 9, "\x00\x00\x00\x08"), "RST_STREAM 9 CANCEL"},
		"WINDOW_UPDATE on an idle stream": {frameOf(http2.FrameWindowUpdate, 0, 9, "\x00\x00\x00\x07"), "WINDOW_UPDATE 9 7"},
		"PRIORITY on stream 0":            {frameOf(http2.FramePriority, 0, 0, "\x00\x00\x00\x03\x08"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, answerWith("intercepted")).open()
			r.server.framer.AllowIllegalReads = true
			r.relayCall(1)
			r.client.request(3, "/intercepted", true)
			r.client.expectAnswer(3, "intercepted")
			r.client.send(test.frame)
			if test.want != "" {
				r.server.expect(test.want)
				r.relayCall(11)
			} else if _, err := r.server.framer.ReadFrame(); !errors.Is(err, http2.ConnectionError(http2.ErrCodeProtocol)) {
				t.Errorf("the server read %v", err)
			}
		})
	}
}
