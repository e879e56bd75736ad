package frames

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	blockLimit       = 1 << 20 // of a header block, in bytes
	continuationMost = 256     // CONTINUATION frames of a block
	listLimit        = 4 << 20 // of a header list, in bytes (RFC 9113, 6.5.2)
	tableSize        = 4096    // of HPACK's dynamic table before any settings
)

// block is a header block while its frames arrive.
type block struct {
	open          bool
	stream        uint32
	flags         http2.Flags // of the first frame
	priority      []byte
	promised      bool // it is a PUSH_PROMISE's
	fragments     []byte
	continuations int
}

// begin takes a HEADERS frame. It reports whether the block is complete.
func (b *block) begin(f frame) (complete bool, err error) {
	content, err := f.content()
	if err != nil {
		return false, err
	}
	*b = block{open: true, stream: f.stream, flags: f.flags, fragments: b.fragments[:0], priority: b.priority[:0]}
	if f.flags.Has(http2.FlagHeadersPriority) {
		if len(content) < 5 {
			return false, connectionError{http2.ErrCodeFrameSize, "HEADERS too short for its priority"}
		}
		b.priority = append(b.priority, content[:5]...)
		content = content[5:]
	}
	return b.add(content, f.flags)
}

// promise takes a PUSH_PROMISE frame.
func (b *block) promise(f frame) (complete bool, err error) {
	content, err := f.content()
	if err != nil {
		return false, err
	}
	if len(content) < 4 {
		return false, connectionError{http2.ErrCodeFrameSize, "PUSH_PROMISE too short"}
	}
	*b = block{open: true, stream: f.stream, promised: true, fragments: b.fragments[:0], priority: b.priority[:0]}
	return b.add(content[4:], f.flags)
}

// proceed takes a CONTINUATION frame.
func (b *block) proceed(f frame) (complete bool, err error) {
	if b.continuations++; b.continuations > continuationMost {
		return false, connectionError{http2.ErrCodeEnhanceYourCalm, "too many CONTINUATION frames"}
	}
	return b.add(f.payload(), f.flags)
}

func (b *block) add(fragment []byte, flags http2.Flags) (complete bool, err error) {
	if len(b.fragments)+len(fragment) > blockLimit {
		return false, connectionError{http2.ErrCodeEnhanceYourCalm, "a header block that is too long"}
	}
	b.fragments = append(b.fragments, fragment...)
	b.open = !flags.Has(http2.FlagHeadersEndHeaders)
	return !b.open, nil
}

// inOrder tells whether a frame may come now: the frames of a block come one after
// another (RFC 9113, 6.10).
func (b *block) inOrder(f frame) error {
	if continues := f.kind == http2.FrameContinuation; continues != b.open || b.open && f.stream != b.stream {
		return connectionError{http2.ErrCodeProtocol, fmt.Sprintf("%v where it must not be", f.kind)}
	}
	return nil
}

// tableLimit is the size of the table that a receiver of header blocks allows.
// Blocks that are on their way when it becomes smaller may still use the larger one.
type tableLimit struct{ now, most atomic.Uint32 }

// set is for one goroutine.
func (l *tableLimit) set(size uint32) {
	l.now.Store(size)
	l.most.Store(max(l.most.Load(), size))
}

// decoder decodes the header blocks of one direction.
type decoder struct {
	hpack  *hpack.Decoder
	fields []hpack.HeaderField
	size   int // of the list so far
}

func newDecoder() *decoder {
	d := &decoder{}
	d.hpack = hpack.NewDecoder(tableSize, func(field hpack.HeaderField) {
		if d.size += int(field.Size()); d.size <= listLimit {
			d.fields = append(d.fields, field)
		}
	})
	d.hpack.SetMaxStringLength(listLimit)
	return d
}

// decode returns the fields of a block; they are valid until the next one.
// allowed is the largest table that the block's receiver has ever allowed.
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
		return nil, connectionError{http2.ErrCodeEnhanceYourCalm, "a header list that is too long"}
	}
	return d.fields, nil
}

// encoder encodes the header blocks of one direction.
type encoder struct {
	hpack *hpack.Encoder
	block bytes.Buffer
	table uint32 // the size of the table
}

func newEncoder() *encoder {
	e := &encoder{table: tableSize}
	e.hpack = hpack.NewEncoder(&e.block)
	return e
}

// encode returns a header block behind a prefix; it is valid until the next one.
// allowed is the size of the table that the receiver allows. The table only
// shrinks: a larger one would have to wait for an acknowledgement, and gain little.
func (e *encoder) encode(prefix []byte, fields []hpack.HeaderField, allowed uint32) []byte {
	if allowed < e.table {
		e.table = allowed
		e.hpack.SetMaxDynamicTableSize(allowed)
	}
	e.block.Reset()
	e.block.Write(prefix)
	for _, field := range fields {
		_ = e.hpack.WriteField(field) // a buffer takes everything
	}
	return e.block.Bytes()
}

// appendFields appends fields in a form that neither needs nor changes the
// receiver's dynamic table: literals never indexed (RFC 7541, 6.2.3), names and
// values without Huffman coding.
func appendFields(b []byte, fields []hpack.HeaderField) []byte {
	for _, field := range fields {
		if field.Name == ":status" && field.Value == "200" {
			b = append(b, 0x88) // indexed, static table
			continue
		}
		b = append(b, 0x10)
		b = appendString(b, field.Name)
		b = appendString(b, field.Value)
	}
	return b
}

// appendString is HPACK's string literal, with its length as an integer of a
// 7-bit prefix (RFC 7541, 5.1 and 5.2).
func appendString(b []byte, text string) []byte {
	n := len(text)
	if n < 127 {
		b = append(b, byte(n))
	} else {
		b = append(b, 127)
		for n -= 127; n >= 128; n /= 128 {
			b = append(b, byte(n%128+128))
		}
		b = append(b, byte(n))
	}
	return append(b, text...)
}
