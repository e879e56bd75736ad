package frames

import (
	"bytes"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	blockLimit        = 1 << 20 // largest header block, in bytes
	continuationLimit = 256     // maximum number of CONTINUATION frames of a block
	listLimit         = 4 << 20 // largest header list, in bytes (RFC 9113, 6.5.2)
)

// block is a header block that is being received.
type block struct {
	open          bool // more frames follow
	stream        uint32
	flags         http2.Flags // flags of the first frame
	priority      []byte      // priority fields of HEADERS, or promised stream of PUSH_PROMISE
	promised      bool        // the first frame is PUSH_PROMISE
	fragments     []byte
	continuations int
}

// begin starts a block with a HEADERS frame. It reports whether the block is complete.
func (b *block) begin(f frame) (complete bool, err error) {
	content, err := f.content()
	if err != nil {
		return false, err
	}
	*b = block{open: true, stream: f.stream, flags: f.flags, fragments: b.fragments[:0], priority: b.priority[:0]}
	if f.flags.Has(http2.FlagHeadersPriority) {
		if len(content) < 5 {
			return false, connectionError{http2.ErrCodeFrameSize, "HEADERS frame is too short for its priority fields"}
		}
		b.priority = append(b.priority, content[:5]...)
		content = content[5:]
	}
	return b.add(content, f.flags)
}

// promise starts a block with a PUSH_PROMISE frame. It reports whether the block is complete.
func (b *block) promise(f frame) (complete bool, err error) {
	content, err := f.content()
	if err != nil {
		return false, err
	}
	if len(content) < 4 {
		return false, connectionError{http2.ErrCodeFrameSize, "PUSH_PROMISE frame is too short"}
	}
	*b = block{open: true, stream: f.stream, promised: true, fragments: b.fragments[:0], priority: append(b.priority[:0], content[:4]...)}
	return b.add(content[4:], f.flags)
}

// proceed adds a CONTINUATION frame. It reports whether the block is complete.
func (b *block) proceed(f frame) (complete bool, err error) {
	if b.continuations++; b.continuations > continuationLimit {
		return false, connectionError{http2.ErrCodeEnhanceYourCalm, "too many CONTINUATION frames"}
	}
	return b.add(f.payload(), f.flags)
}

func (b *block) add(fragment []byte, flags http2.Flags) (complete bool, err error) {
	if len(b.fragments)+len(fragment) > blockLimit {
		return false, connectionError{http2.ErrCodeEnhanceYourCalm, "header block is too long"}
	}
	b.fragments = append(b.fragments, fragment...)
	b.open = !flags.Has(http2.FlagHeadersEndHeaders)
	return !b.open, nil
}

// inOrder returns an error if a frame interrupts a header block, or continues a block that is
// not open (RFC 9113, 6.10).
func (b *block) inOrder(f frame) error {
	if continues := f.kind == http2.FrameContinuation; continues != b.open || b.open && f.stream != b.stream {
		return connectionError{http2.ErrCodeProtocol, fmt.Sprintf("unexpected %v frame", f.kind)}
	}
	return nil
}

// decoder decodes the header blocks of one direction.
type decoder struct {
	hpack  *hpack.Decoder
	fields []hpack.HeaderField
	size   int // size of the current list, in bytes
}

func newDecoder() *decoder {
	d := &decoder{}
	d.hpack = hpack.NewDecoder(defaultTableSize, func(field hpack.HeaderField) {
		if d.size += int(field.Size()); d.size <= listLimit {
			d.fields = append(d.fields, field)
		}
	})
	d.hpack.SetMaxStringLength(listLimit)
	return d
}

// decode returns the fields of a block. They are valid until the next call. allowed is the
// largest dynamic table that the receiver of the block has ever allowed.
func (d *decoder) decode(fragments []byte, allowed uint32) ([]hpack.HeaderField, error) {
	d.hpack.SetAllowedMaxDynamicTableSize(allowed)
	clear(d.fields)
	d.fields, d.size = d.fields[:0], 0
	_, err := d.hpack.Write(fragments)
	if err == nil {
		err = d.hpack.Close()
	}
	if err != nil {
		return nil, connectionError{http2.ErrCodeCompression, err.Error()}
	}
	if d.size > listLimit {
		return nil, connectionError{http2.ErrCodeEnhanceYourCalm, "header list is too long"}
	}
	return d.fields, nil
}

// encoder encodes the header blocks of one direction.
type encoder struct {
	hpack *hpack.Encoder
	block bytes.Buffer
	table uint32 // size of the dynamic table
}

func newEncoder() *encoder {
	e := &encoder{table: defaultTableSize}
	e.hpack = hpack.NewEncoder(&e.block)
	return e
}

// encode returns prefix, followed by a header block. The result is valid until the next
// call. allowed is the smallest dynamic table that the receiver has allowed since the last
// block. The encoder reduces its table to this size and never enlarges it again. To enlarge
// it, the relay would have to wait for an acknowledgement, for little gain.
func (e *encoder) encode(prefix []byte, fields []hpack.HeaderField, allowed uint32) []byte {
	if allowed < e.table {
		e.table = allowed
		e.hpack.SetMaxDynamicTableSize(allowed)
	}
	e.block.Reset()
	e.block.Write(prefix)
	for _, field := range fields {
		_ = e.hpack.WriteField(field) // writing to a buffer does not fail
	}
	return e.block.Bytes()
}
