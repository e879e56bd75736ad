package frames

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// A header block that the relay encodes again loses its padding. DATA keeps it.
func TestPadding(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.check("HEADERS", r.client.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: r.client.encode(requestOf("/relayed")...), EndHeaders: true, PadLength: 200,
	}))
	r.server.expectRequest(1, "/relayed", false)
	r.client.check("DATA", r.client.framer.WriteDataPadded(1, true, []byte("up"), make([]byte, 7)))
	r.server.expect(dataLine(1, true, "up") + " padding=7")

	r.server.check("HEADERS", r.server.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: r.server.encode(":status=200"), EndHeaders: true, PadLength: 99,
	}))
	r.server.check("DATA", r.server.framer.WriteDataPadded(1, true, []byte("down"), make([]byte, 9)))
	r.client.expect(headersLine(1, false, ":status=200"), dataLine(1, true, "down")+" padding=9")

	// Padding of an intercepted request is not part of its body, but gets credit.
	r.client.check("HEADERS", r.client.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 3, BlockFragment: r.client.encode(requestOf("/intercepted")...), EndHeaders: true, PadLength: 1,
	}))
	r.client.check("DATA", r.client.framer.WriteDataPadded(3, false, []byte("up"), make([]byte, 7)))
	r.client.expect("WINDOW_UPDATE 3 10")
	r.client.data(3, true, "")
	r.client.expect(headersLine(3, false, ":status=200"), dataLine(3, false, "intercepted"),
		headersLine(3, true, "!grpc-status=0"), "WINDOW_UPDATE 0 10")
	r.syncPeers()
}

func TestPriority(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	priority := http2.PriorityParam{StreamDep: 7, Weight: 42, Exclusive: true}
	for _, pad := range []uint8{0, 5} {
		id := uint32(1 + 2*pad)
		r.client.check("HEADERS", r.client.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: r.client.encode(requestOf("/relayed")...), EndHeaders: true, Priority: priority, PadLength: pad,
		}))
		r.server.expect(strings.Replace(headersLine(id, false, requestOf("/relayed")...), " :", " priority=7/42/true :", 1))
	}
	r.client.check("PRIORITY", r.client.framer.WritePriority(1, http2.PriorityParam{StreamDep: 3, Weight: 9}))
	r.server.expect("PRIORITY 1 3/9/false")

	r.client.check("HEADERS", r.client.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 13, BlockFragment: r.client.encode(requestOf("/intercepted")...), EndHeaders: true, EndStream: true, Priority: priority,
	}))
	r.client.check("PRIORITY", r.client.framer.WritePriority(13, priority)) // an intercepted stream
	r.client.expectAnswer(13, "intercepted")
	r.syncPeers()
}

// A header block may have many frames. For the server, the relay splits it again. For the
// client, its frames stay unchanged. No other frame is written between them.
func TestContinuation(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	long := "x=" + strings.Repeat("~", 3*defaultMaxFrame)
	sendCut := func(p *peer, id uint32, block []byte) {
		p.check("HEADERS", p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:1], EndStream: true}))
		for block = block[1:]; len(block) > 0; {
			n := min(len(block), 1000)
			p.check("CONTINUATION", p.framer.WriteContinuation(id, n == len(block), block[:n]))
			block = block[n:]
		}
	}
	for id := uint32(1); id < 9; id += 2 {
		sendCut(r.client, id, r.client.encode(requestOf("/relayed", long)...))
		r.server.expect(headersLine(id, true, requestOf("/relayed", long)...))
		sendCut(r.server, id, r.server.encode(":status=200", long))
		r.client.expect(headersLine(id, true, ":status=200", long))
	}
	sendCut(r.client, 9, r.client.encode(requestOf("/intercepted", long)...))
	r.client.expectAnswer(9, "intercepted")
	r.relayCall(11)
}

// An injected answer is not written between the frames of a header block from the server.
func TestAnswerNeverInsideBlock(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	block := r.server.encode(":status=200", "a=b")
	r.server.check("HEADERS", r.server.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1]}))
	r.client.request(3, "/intercepted", true)
	r.client.expectAnswer(3, "intercepted")
	r.server.check("CONTINUATION", r.server.framer.WriteContinuation(1, true, block[1:]))
	r.client.expect(headersLine(1, false, ":status=200", "a=b"))
}

// Sensitive fields are never indexed, and the order of fields does not change.
func TestFieldsStayAsTheyAre(t *testing.T) {
	r := newFixture(t, nil).open()
	fields := requestOf("/relayed", "b=1", "a=2", "!authorization=secret", "b=3", "a=", "!cookie=", "x-bin=AAE")
	for id := uint32(1); id < 7; id += 2 {
		r.client.headers(id, false, fields...)
		r.server.expect(headersLine(id, false, fields...))
		r.server.headers(id, false, ":status=200", "b=1", "!a=2", "b=2")
		r.client.expect(headersLine(id, false, ":status=200", "b=1", "!a=2", "b=2"))
		r.client.headers(id, true, "z=1", "!y=2") // trailers
		r.server.expect(headersLine(id, true, "z=1", "!y=2"))
	}
}

// Both sides may change the size of the HPACK table for the header blocks that they receive.
func TestHeaderTableSize(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	id := uint32(1)
	exchange := func() {
		t.Helper()
		for range 3 {
			fields := requestOf("/relayed", "some=thing", "other=thing")
			r.client.headers(id, true, fields...)
			r.server.expect(headersLine(id, true, fields...))
			r.server.headers(id, true, ":status=200", "some=answer")
			r.client.expect(headersLine(id, true, ":status=200", "some=answer"))
			id += 2
		}
		r.client.request(id, "/intercepted", true)
		r.client.expectAnswer(id, "intercepted")
		id += 2
	}
	exchange()
	for _, size := range []uint32{0, 100, 8192, 4096, 1 << 20, 0, 4096} {
		r.changeSettings(r.server, http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
		r.server.decoder.SetAllowedMaxDynamicTableSize(size)
		r.client.encoder.SetMaxDynamicTableSizeLimit(size)
		r.client.encoder.SetMaxDynamicTableSize(size)
		exchange()
		r.changeSettings(r.client, http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
		r.client.decoder.SetAllowedMaxDynamicTableSize(size)
		r.server.encoder.SetMaxDynamicTableSizeLimit(size)
		r.server.encoder.SetMaxDynamicTableSize(size)
		exchange()
	}
}

// A header block that was sent before its sender read the smaller table size is decoded.
func TestHeaderTableShrinksUnderWay(t *testing.T) {
	r := newFixture(t, nil).open()
	shrunk := http2.Setting{ID: http2.SettingHeaderTableSize}
	r.server.settings(shrunk)
	r.client.expect("SETTINGS HEADER_TABLE_SIZE=0")
	r.client.encoder.SetMaxDynamicTableSize(2048) // the client has not read the setting yet
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	r.client.acknowledge()
	r.server.expect("SETTINGS ack")

	r.client.settings(shrunk)
	r.server.expect("SETTINGS HEADER_TABLE_SIZE=0")
	r.server.encoder.SetMaxDynamicTableSize(2048)
	r.server.headers(1, true, ":status=200")
	r.client.expect(headersLine(1, true, ":status=200"))
}

// PUSH_PROMISE and a pushed answer are forwarded, and later header blocks stay correct.
func TestPushPromise(t *testing.T) {
	r := newFixture(t, answerWith("intercepted")).open()
	r.client.framer.AllowIllegalReads = true // the framer rejects CONTINUATION after PUSH_PROMISE
	r.client.request(1, "/relayed", true)
	r.server.expectRequest(1, "/relayed", true)
	for promised := uint32(2); promised < 8; promised += 2 {
		block := r.server.encode(requestOf("/pushed", "new=field")...)
		r.server.check("PUSH_PROMISE", r.server.framer.WritePushPromise(http2.PushPromiseParam{
			StreamID: 1, PromiseID: promised, BlockFragment: block[:2], PadLength: 3,
		}))
		r.server.check("CONTINUATION", r.server.framer.WriteContinuation(1, true, block[2:]))
		r.client.expect(strings.Replace(headersLine(promised, false, requestOf("/pushed", "new=field")...), "HEADERS", "PUSH_PROMISE 1", 1))
		r.server.headers(promised, false, ":status=200", "new=field")
		r.server.data(promised, true, "pushed")
		r.client.expect(headersLine(promised, false, ":status=200", "new=field"), dataLine(promised, true, "pushed"))
	}
	r.server.headers(1, true, ":status=200", "new=field")
	r.client.expect(headersLine(1, true, ":status=200", "new=field"))
}
