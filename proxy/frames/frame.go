package frames

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	headerLength    = 9         // length of a frame header, in bytes (RFC 9113, 4.1)
	frameLimit      = 1 << 20   // payload limit of a frame that is read as a whole, in bytes
	pingLength      = 8         // length of a PING payload, in bytes
	defaultMaxFrame = 16 << 10  // initial SETTINGS_MAX_FRAME_SIZE, which every peer accepts
	defaultWindow   = 65_535    // initial flow-control window (RFC 9113, 6.9.2)
	windowLimit     = 1<<31 - 1 // largest flow-control window (RFC 9113, 6.9.1)
	streamMask      = 1<<31 - 1 // bits of a stream identifier
)

// header is a frame header.
type header struct {
	length int // length of the payload
	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
}

func parseHeader(b []byte) header {
	return header{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   http2.FrameType(b[3]),
		flags:  http2.Flags(b[4]),
		stream: binary.BigEndian.Uint32(b[5:]) & streamMask,
	}
}

// put writes a header over the first bytes of b.
func (h header) put(b []byte) {
	b[0], b[1], b[2] = byte(h.length>>16), byte(h.length>>8), byte(h.length)
	b[3], b[4] = byte(h.kind), byte(h.flags)
	binary.BigEndian.PutUint32(b[5:], h.stream)
}

func (h header) append(b []byte) []byte {
	var encoded [headerLength]byte
	h.put(encoded[:])
	return append(b, encoded[:]...)
}

// frame is a frame in a read buffer. It is valid until the next read.
type frame struct {
	header
	at    int    // offset in the buffer
	bytes []byte // header and payload
}

func (f frame) payload() []byte { return f.bytes[headerLength:] }

// content returns the payload of a HEADERS, PUSH_PROMISE or DATA frame without its padding.
func (f frame) content() ([]byte, error) {
	payload := f.payload()
	if !f.flags.Has(http2.FlagDataPadded) { // the same bit for all three types
		return payload, nil
	}
	if len(payload) == 0 || int(payload[0]) >= len(payload) {
		return nil, connectionError{http2.ErrCodeProtocol, "padding exceeds the frame"}
	}
	return payload[1 : len(payload)-int(payload[0])], nil
}

func appendWindowUpdate(b []byte, stream uint32, increment int) []byte {
	b = header{length: 4, kind: http2.FrameWindowUpdate, stream: stream}.append(b)
	return binary.BigEndian.AppendUint32(b, uint32(increment))
}

func appendReset(b []byte, stream uint32, code http2.ErrCode) []byte {
	b = header{length: 4, kind: http2.FrameRSTStream, stream: stream}.append(b)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, text string) []byte {
	b = header{length: 8 + len(text), kind: http2.FrameGoAway}.append(b)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, text...)
}

// appendData appends data as one or more DATA frames of at most maxFrame bytes each. end sets
// END_STREAM on the last one.
func appendData(b []byte, stream uint32, data []byte, maxFrame int, end bool) []byte {
	for {
		piece := data[:min(len(data), maxFrame)]
		data = data[len(piece):]
		h := header{length: len(piece), kind: http2.FrameData, stream: stream}
		if end && len(data) == 0 {
			h.flags = http2.FlagDataEndStream
		}
		b = append(h.append(b), piece...)
		if len(data) == 0 {
			return b
		}
	}
}

// appendBlock appends a header block as a HEADERS frame, followed by CONTINUATION frames if
// the block is longer than maxFrame. flags are the flags of HEADERS without END_HEADERS. If
// they contain PRIORITY, block must begin with the priority fields.
func appendBlock(b []byte, stream uint32, block []byte, maxFrame int, flags http2.Flags) []byte {
	kind := http2.FrameHeaders
	for {
		piece := block[:min(len(block), maxFrame)]
		block = block[len(piece):]
		if len(block) == 0 {
			flags |= http2.FlagHeadersEndHeaders // the same bit for CONTINUATION
		}
		b = append(header{length: len(piece), kind: kind, flags: flags, stream: stream}.append(b), piece...)
		if len(block) == 0 {
			return b
		}
		kind, flags = http2.FrameContinuation, 0
	}
}

// settings calls each for every setting of a SETTINGS frame. An acknowledgement has none.
func (f frame) settings(each func(http2.SettingID, uint32)) error {
	payload := f.payload()
	if f.flags.Has(http2.FlagSettingsAck) {
		return nil
	}
	if f.stream != 0 || len(payload)%6 != 0 {
		return connectionError{http2.ErrCodeFrameSize, "malformed SETTINGS"}
	}
	for ; len(payload) > 0; payload = payload[6:] {
		each(http2.SettingID(binary.BigEndian.Uint16(payload)), binary.BigEndian.Uint32(payload[2:]))
	}
	return nil
}

// changeSetting changes a value of a SETTINGS frame in place.
func (f frame) changeSetting(id http2.SettingID, value uint32) {
	for payload := f.payload(); len(payload) > 0; payload = payload[6:] {
		if http2.SettingID(binary.BigEndian.Uint16(payload)) == id {
			binary.BigEndian.PutUint32(payload[2:], value)
		}
	}
}

// number returns the payload of a frame that consists of one 32-bit number, without the
// number's highest bit. It returns an error if the payload is not 4 bytes.
func (f frame) number() (uint32, error) {
	if f.length != 4 {
		return 0, connectionError{http2.ErrCodeFrameSize, fmt.Sprintf("%v payload of %d bytes, want 4", f.kind, f.length)}
	}
	return binary.BigEndian.Uint32(f.payload()) & streamMask, nil
}

// connectionError is a protocol violation of a peer that ends the connection (RFC 9113,
// 5.4.1). text becomes the debug data of GOAWAY.
type connectionError struct {
	code http2.ErrCode
	text string
}

func (e connectionError) Error() string { return fmt.Sprintf("%v: %s", e.code, e.text) }

// Field returns the value of the first field with this name, or "" if there is none.
func Field(fields []hpack.HeaderField, name string) string {
	for _, field := range fields {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}
