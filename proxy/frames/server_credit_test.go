package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// Credit that the client gives while creditPaused holds is forwarded to the server when memory
// is released.
func TestCreditWhileMemoryIsShort(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.server.ignoreCredit = true
	r.client.windowUpdate(0, 1<<30)
	r.beginRestored(1)
	r.client.windowUpdate(1, 1<<30)
	r.syncPeers()
	piece := strings.Repeat("x", defaultMaxFrame)
	for range bufferLimit/2/len(piece) + 1 {
		r.server.data(1, false, piece)
	}
	eventually(t, "half of bufferLimit in use", func() bool { _, bodies := r.buffered(); return bodies >= bufferLimit/2 })
	r.beginRestored(3)
	r.client.windowUpdate(3, 1<<20)
	r.syncPeers()
	sender := func() int {
		r.relay.mutex.Lock()
		defer r.relay.mutex.Unlock()
		return r.relay.relayed[3].window.sender
	}
	if got := sender(); got != 0 {
		t.Errorf("the server got %d bytes of credit while half of bufferLimit was used", got)
	}
	r.client.reset(1, http2.ErrCodeCancel)
	eventually(t, "the server's credit", func() bool { return sender() == 1<<20 })
}
