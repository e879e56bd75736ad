package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// The relay uses a larger window or frame size of the client only after the server's
// acknowledgement (RFC 9113, 6.5.3).
func TestLargerSettingsHoldWhenAcknowledged(t *testing.T) {
	t.Run("window", func(t *testing.T) {
		r := newFixture(t, answerWith("0123456789")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		r.client.request(1, "/intercepted", true)
		r.client.expect(headersLine(1, false, ":status=200"))
		r.client.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		r.server.expect("SETTINGS INITIAL_WINDOW_SIZE=5")
		r.syncPeers()
		r.server.acknowledge()
		r.client.expect("SETTINGS ack", dataLine(1, false, "01234"))
	})
	t.Run("frame", func(t *testing.T) {
		answer := strings.Repeat("x", defaultWindow+60_000)
		r := newFixture(t, answerWith(answer)).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		r.client.request(1, "/intercepted", true)
		r.client.expect(headersLine(1, false, ":status=200"))
		r.client.expectData(1, false, answer[:defaultWindow])
		r.client.settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
		r.server.expect("SETTINGS MAX_FRAME_SIZE=1048576")
		r.client.windowUpdate(0, 2*defaultMaxFrame)
		for range 2 {
			r.client.expect(dataLine(1, false, answer[:defaultMaxFrame]))
		}
		r.server.acknowledge()
		r.client.expect("SETTINGS ack")
		r.client.windowUpdate(0, 1<<20)
		r.client.expect(dataLine(1, false, answer[:60_000-2*defaultMaxFrame]), headersLine(1, true, "!grpc-status=0"))
	})
}

// A larger window is not used if the client announces a smaller one before the first is
// acknowledged.
func TestLargerSettingsAreTakenBack(t *testing.T) {
	window := func(size uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: size}
	}
	r := newFixture(t, answerWith("0123456789")).open(window(2))
	r.client.request(1, "/intercepted", true)
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, false, "01"))
	r.client.settings(window(100))
	r.client.settings(window(4))
	r.server.expect("SETTINGS INITIAL_WINDOW_SIZE=100", "SETTINGS INITIAL_WINDOW_SIZE=4")
	r.server.acknowledge()
	r.client.expect("SETTINGS ack", dataLine(1, false, "23"))
	r.server.acknowledge()
	r.client.expect("SETTINGS ack")
	r.syncPeers()
	r.client.windowUpdate(1, 100)
	r.client.expect(dataLine(1, false, "456789"), headersLine(1, true, "!grpc-status=0"))
}

// The window of an intercepted request never exceeds the limit of HTTP/2 (RFC 9113, 6.9.1),
// even if the server announces the largest initial window.
func TestUploadWindowStaysLawful(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.request(1, "/intercepted", false)
	r.syncPeers()
	r.server.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.client.expect("SETTINGS INITIAL_WINDOW_SIZE=0", "WINDOW_UPDATE 1 65535")
	r.server.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowLimit})
	r.client.expect("SETTINGS INITIAL_WINDOW_SIZE=2147418112")
}
