package frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers handles a header block once it is complete, because no other frame may be written
// between its frames.
func (p *serverToClient) headers(f frame, complete bool, err error) error {
	switch {
	case err != nil:
		return err
	case !complete:
		p.blockFrames = append(p.blockFrames, f.bytes...)
		return nil
	}
	// The block must be decoded in any case, because it may change the dynamic table.
	fields, err := p.decoder.decode(p.block.fragments, p.clientTable.allowed())
	if err != nil {
		return err
	}
	sent, fields, err := p.answerHeaders(fields)
	if err != nil || sent {
		p.blockFrames = p.blockFrames[:0]
		return err
	}
	p.forwardBlock(f, fields)
	if !p.block.promised && p.block.flags.Has(http2.FlagHeadersEndStream) {
		p.serverDone(p.block.stream, fields)
	}
	return nil
}

// answerHeaders handles a complete header block that is part of a restored or queued answer.
// sent reports whether the block needs no further handling. If not, the caller must forward
// the returned fields.
func (p *serverToClient) answerHeaders(fields []hpack.HeaderField) (sent bool, _ []hpack.HeaderField, err error) {
	if p.block.promised {
		p.promise()
		return false, fields, nil
	}
	end := p.block.flags.Has(http2.FlagHeadersEndStream)
	p.mutex.Lock()
	p.pings.serverSentData = true
	s := p.unanswered(p.block.stream)
	collecting := s != nil && s.restoration != nil && s.restoration.collecting
	queued := s != nil && !collecting && (s.sending || s.restoration != nil)
	p.mutex.Unlock()
	switch {
	case collecting && end:
		sent, err = p.restoreAnswer(s, fields, false)
		return sent, fields, err
	case collecting:
		forClient := s.restoration.noteHeader(fields)
		p.reencoding = p.reencoding || len(forClient) != len(fields)
		return false, forClient, nil
	case queued:
		fields = slices.Clone(fields)
		if end {
			p.mutex.Lock()
			s.serverDone, s.endQueued, s.trailer = true, true, fields
			p.mutex.Unlock()
		}
		return true, nil, p.enqueue(s, segment{fields: fields, end: end})
	}
	return false, fields, nil
}

// promise adds a stream that the server has promised, so that its answer can be queued.
func (p *serverToClient) promise() {
	id := binary.BigEndian.Uint32(p.block.priority) & streamMask
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if id%2 == 0 && p.relayed[id] == nil && len(p.relayed) < streamLimit {
		p.relayed[id] = &stream{id: id, clientDone: true, window: p.flow.toClient.stream(p.clientSettings.announcedWindow, p.clientSettings.appliedWindow)}
	}
}

// forwardBlock adds a complete header block to the batch: its original frames, of which f is
// the last, or the encoded fields if reencoding is set.
func (p *serverToClient) forwardBlock(f frame, fields []hpack.HeaderField) {
	switch {
	case p.reencoding:
		block := p.tableUpdate.append(nil)
		if p.block.promised {
			block = slices.Concat(p.block.priority, block)
		}
		block = appendLiterals(block, fields)
		p.batch.edit(func(b []byte) []byte {
			at := len(b)
			b = appendBlock(b, p.block.stream, block, defaultMaxFrame, p.block.flags&http2.FlagHeadersEndStream)
			if p.block.promised {
				b[at+3] = byte(http2.FramePushPromise)
			}
			return b
		})
	case len(p.blockFrames) > 0:
		p.blockFrames = append(p.blockFrames, f.bytes...)
		p.batch.edit(func(b []byte) []byte { return append(b, p.blockFrames...) })
	default:
		p.batch.keep(f)
	}
	p.blockFrames = p.blockFrames[:0]
	p.tableUpdate = tableUpdate{} // the forwarded or encoded block contains the update
}
