package frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers passes a header block on when it is complete: nothing may come between
// its frames.
func (d *down) headers(f frame, complete bool, err error) error {
	switch {
	case err != nil:
		return err
	case !complete:
		d.held = append(d.held, f.bytes...)
		return nil
	}
	// Decoded in any case: it may change what later blocks mean.
	fields, err := d.decoder.decode(d.block.fragments, d.clientTable.allowed())
	if err != nil {
		return err
	}
	sent, fields, err := d.answerHeaders(fields)
	if err != nil || sent {
		d.held = d.held[:0]
		return err
	}
	d.passBlock(f, fields)
	if !d.block.promised && d.block.flags.Has(http2.FlagHeadersEndStream) {
		d.serverDone(d.block.stream, fields)
	}
	return nil
}

// answerHeaders deals with the complete header block of an answer that does not pass as it
// comes. It reports whether the block needs nothing else; otherwise the fields that it
// returns are to be passed on.
func (d *down) answerHeaders(fields []hpack.HeaderField) (sent bool, _ []hpack.HeaderField, err error) {
	if d.block.promised {
		d.promise()
		return false, fields, nil
	}
	end := d.block.flags.Has(http2.FlagHeadersEndStream)
	d.mutex.Lock()
	d.pings.serverSentData = true
	s := d.answering(d.block.stream)
	collecting := s != nil && s.restoration != nil && s.restoration.collecting
	queued := s != nil && !collecting && (s.sending || s.restoration != nil)
	d.mutex.Unlock()
	switch {
	case collecting && end:
		sent, err = d.complete(s, fields, false)
		return sent, fields, err
	case collecting:
		forClient := s.restoration.noteHeader(fields)
		d.rewriting = d.rewriting || len(forClient) != len(fields)
		return false, forClient, nil
	case queued:
		fields = slices.Clone(fields)
		if end {
			d.mutex.Lock()
			s.serverDone, s.ending, s.trailer = true, true, fields
			d.mutex.Unlock()
		}
		return true, nil, d.enqueue(s, segment{fields: fields, end: end})
	}
	return false, fields, nil
}

// promise notes a stream that the server has promised, so that its answer can be queued as
// any other.
func (d *down) promise() {
	id := binary.BigEndian.Uint32(d.block.priority) & streamMask
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if id%2 == 0 && d.open[id] == nil && len(d.open) < streamLimit {
		d.open[id] = &stream{id: id, clientDone: true, window: d.flow.toClient.stream(d.clientSettings.announcedWindow, d.clientSettings.appliedWindow)}
	}
}

// passBlock adds a complete header block to the batch: the frames that it came in, or
// fields where it has to be encoded anew.
func (d *down) passBlock(f frame, fields []hpack.HeaderField) {
	switch {
	case d.rewriting:
		block := d.update.append(nil)
		if d.block.promised {
			block = slices.Concat(d.block.priority, block)
		}
		block = appendLiterals(block, fields)
		d.batch.edit(func(b []byte) []byte {
			at := len(b)
			b = appendBlock(b, d.block.stream, block, plainMaxFrame, d.block.flags&http2.FlagHeadersEndStream)
			if d.block.promised {
				b[at+3] = byte(http2.FramePushPromise)
			}
			return b
		})
	case len(d.held) > 0:
		d.held = append(d.held, f.bytes...)
		d.batch.edit(func(b []byte) []byte { return append(b, d.held...) })
	default:
		d.batch.keep(f)
	}
	d.held = d.held[:0]
	d.update = tableUpdate{} // the server's encoder has seen to it
}
