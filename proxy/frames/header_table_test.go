package frames

import (
	"errors"
	"testing"

	"golang.org/x/net/http2"
)

// tableSetting returns SETTINGS_HEADER_TABLE_SIZE.
func tableSetting(size uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}
}

// sizeUpdates reads HEADERS, and returns the size updates at its beginning (RFC 7541, 6.3).
func sizeUpdates(t *testing.T, p *peer) []int {
	t.Helper()
	f, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	headers, ok := f.(*http2.HeadersFrame)
	if !ok {
		t.Fatalf("got %v, want HEADERS", f)
	}
	var sizes []int
	block := headers.HeaderBlockFragment()
	for len(block) > 0 && block[0]&0xe0 == 0x20 {
		size, n := int(block[0]&0x1f), 1
		if size == 0x1f {
			for shift := 0; ; shift += 7 {
				size += int(block[n]&0x7f) << shift
				n++
				if block[n-1]&0x80 == 0 {
					break
				}
			}
		}
		sizes = append(sizes, size)
		block = block[n:]
	}
	if _, err := p.decoder.DecodeFull(headers.HeaderBlockFragment()); err != nil {
		t.Fatalf("the header block cannot be decoded: %v", err)
	}
	return sizes
}

func expectSizes(t *testing.T, got []int, want ...int) {
	t.Helper()
	same := len(got) == len(want)
	for i := range got {
		same = same && got[i] == want[i]
	}
	if !same {
		t.Errorf("the header block begins with the size updates %v, want %v", got, want)
	}
}

// The first header block after the client has reduced its table begins with a size update,
// whether the server or the relay encoded the block.
func TestClientTableBecomesSmaller(t *testing.T) {
	for name, size := range map[string]uint32{"short": 20, "long": 256} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, answerWith("intercepted")).open()
			r.relayCall(1)
			r.client.settings(tableSetting(size))
			r.server.read()
			r.client.request(3, "/intercepted", true) // the server has not acknowledged the smaller table yet
			expectSizes(t, sizeUpdates(t, r.client))
			r.client.expect(dataLine(3, false, "intercepted"), headersLine(3, true, "!grpc-status=0"))
			r.server.acknowledge()
			r.client.expect("SETTINGS ack")
			r.client.request(5, "/intercepted", true)
			expectSizes(t, sizeUpdates(t, r.client), int(size))
			r.client.expect(dataLine(5, false, "intercepted"), headersLine(5, true, "!grpc-status=0"))
			r.client.request(7, "/intercepted", true)
			expectSizes(t, sizeUpdates(t, r.client)) // the update is sent once
			r.client.expect(dataLine(7, false, "intercepted"), headersLine(7, true, "!grpc-status=0"))
			r.server.encoder.SetMaxDynamicTableSize(size)
			r.relayCall(9)
		})
	}
}

// If the table was smaller between two blocks, the update has the smallest size.
func TestClientTableBecomesSmallerAndLargerAgain(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.changeSettings(r.client, tableSetting(0))
	r.changeSettings(r.client, tableSetting(4096))
	r.client.request(1, "/intercepted", true)
	expectSizes(t, sizeUpdates(t, r.client), 0)
}

// If a block of the server has the size update, the next block of the relay has none.
func TestServerAnnouncesSmallerTable(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.changeSettings(r.client, tableSetting(100))
	r.server.encoder.SetMaxDynamicTableSize(100)
	r.relayCall(1)
	r.client.request(3, "/intercepted", true)
	expectSizes(t, sizeUpdates(t, r.client))
}

// A header block of the server that the relay encodes again has the size update.
func TestRewrittenBlocksAnnounceSmallerTable(t *testing.T) {
	r := newFixture(t, answerWith("handled")).open()
	r.beginRestored(1)
	r.server.reset(1, http2.ErrCodeCancel)
	r.client.expect("RST_STREAM 1 CANCEL")
	r.client.request(3, "/intercepted/restored", false)
	r.client.data(3, true, "?")
	r.server.expectRequest(3, "/intercepted/restored", false)
	r.server.expect(dataLine(3, true, "?"))
	r.server.headers(3, false, ":status=200", "content-length=7") // the relay encodes blocks again from here on
	r.client.expect(headersLine(3, false, ":status=200"))
	r.changeSettings(r.client, tableSetting(0))
	r.server.headers(3, true, "grpc-status=0")
	expectSizes(t, sizeUpdates(t, r.client), 0)
	r.relayCall(5)
}

// If the server's table was smaller between two requests, the next block for the server has
// the size update (RFC 7541, 4.2).
func TestServerTableBecomesSmallerAndLargerAgain(t *testing.T) {
	r := newFixture(t, nil).open()
	r.relayCall(1)
	r.changeSettings(r.server, tableSetting(0))
	r.changeSettings(r.server, tableSetting(4096))
	r.client.request(3, "/relayed", true)
	expectSizes(t, sizeUpdates(t, r.server), 0)
	r.client.request(5, "/relayed", true)
	expectSizes(t, sizeUpdates(t, r.server))
}

// If the client sends SETTINGS without end and the server acknowledges none, the connection
// ends.
func TestTooManySettings(t *testing.T) {
	r := newFixture(t, nil).open()
	go func() {
		for r.client.framer.WriteSettings() == nil {
		}
	}()
	go func() {
		for {
			if _, err := r.server.framer.ReadFrame(); err != nil {
				return
			}
		}
	}()
	err := r.waitEnd()
	if mistake, ok := errors.AsType[connectionError](err); !ok || mistake.code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("Run: %v", err)
	}
}

// A pushed answer is queued if it exceeds the client's window. PUSH_PROMISE stays correct when
// the relay encodes header blocks again.
func TestPushedAnswerWaits(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.framer.AllowIllegalReads = true
	r.client.request(1, "/intercepted", true)
	r.client.expectAnswer(1, "intercepted")
	r.beginRestored(3)
	r.server.headers(3, true, "content-length=1") // trailers
	r.client.expect(headersLine(3, true, "content-length=1"))
	r.client.request(5, "/relayed", true)
	r.server.expectRequest(5, "/relayed", true)
	promise := func(id uint32) {
		r.server.check("PUSH_PROMISE", r.server.framer.WritePushPromise(http2.PushPromiseParam{
			StreamID: 5, PromiseID: id, BlockFragment: r.server.encode(requestOf("/pushed")...), EndHeaders: true,
		}))
	}
	promise(2)
	r.client.expect("PUSH_PROMISE 5 2 " + headersLine(0, false, requestOf("/pushed")...)[len("HEADERS 0 "):])
	r.server.headers(2, false, ":status=200")
	r.client.expect(headersLine(2, false, ":status=200"))
	r.server.data(2, false, string(make([]byte, defaultMaxFrame)))
	r.client.expectData(2, false, string(make([]byte, defaultMaxFrame)))
	for range 2 {
		r.server.data(2, false, string(make([]byte, defaultMaxFrame)))
		r.client.expectData(2, false, string(make([]byte, defaultMaxFrame)))
	}
	rest := defaultWindow - 3*defaultMaxFrame
	r.server.data(2, false, string(make([]byte, rest)))
	r.server.headers(2, true, "a=b")
	r.client.expectData(2, false, string(make([]byte, rest-len("intercepted"))))
	promise(4)
	r.client.expect("PUSH_PROMISE 5 4 " + headersLine(0, false, requestOf("/pushed")...)[len("HEADERS 0 "):])
	r.client.windowUpdate(0, defaultWindow)
	r.client.expectData(2, false, string(make([]byte, len("intercepted"))))
	r.client.expect(headersLine(2, true, "a=b"))
}
