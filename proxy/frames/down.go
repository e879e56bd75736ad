package frames

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// down pumps what the server sends to the client. It waits for nothing but the two
// connections: what can't be written yet is left to the goroutine of its stream.
type down struct {
	*Relay
	reader  reader
	batch   batch
	block   block
	held    []byte // the frames of a header block that is not complete
	decoder *decoder
	update  tableUpdate // for the next header block that does not come from the server as it is
	// ackedSettings are the client's SETTINGS whose acknowledgement is in the batch.
	ackedSettings []announcement
	// rewriting says that header blocks are encoded anew, without the dynamic table: the
	// client did not get one of the server's in its order, so that later ones would not
	// mean the same to it.
	rewriting bool
}

func newDown(r *Relay) *down {
	d := &down{Relay: r, decoder: newDecoder()}
	d.reader.from = r.server
	d.batch.from = &d.reader
	return d
}

func (d *down) run() error {
	for {
		if err := d.reader.fill(); err != nil {
			return fmt.Errorf("%w: %w", ErrServerGone, err)
		}
		for {
			f, ok, err := d.reader.next()
			if err == nil && ok {
				err = d.frame(f)
			}
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
		if err := d.flush(); err != nil {
			return err
		}
	}
}

func (d *down) flush() error {
	frames := d.batch.take()
	if len(frames) == 0 {
		return nil
	}
	err := d.writeBatch(d.client, frames, d.update)
	for _, change := range d.ackedSettings {
		d.applySettings(change)
	}
	d.ackedSettings = d.ackedSettings[:0]
	if err == nil && !d.settled.Load() {
		d.settle()
	}
	return err
}

func (d *down) frame(f frame) error {
	if err := d.block.inOrder(f); err != nil {
		return err
	}
	switch f.kind {
	case http2.FrameHeaders:
		complete, err := d.block.begin(f)
		return d.headers(f, complete, err)
	case http2.FramePushPromise:
		complete, err := d.block.promise(f)
		return d.headers(f, complete, err)
	case http2.FrameContinuation:
		complete, err := d.block.proceed(f)
		return d.headers(f, complete, err)
	case http2.FrameData:
		return d.data(f)
	case http2.FrameRSTStream:
		code, err := f.number()
		if err != nil {
			return err
		}
		d.reset(f, http2.ErrCode(code))
	case http2.FrameWindowUpdate:
		return d.windowUpdate(f)
	case http2.FrameSettings:
		d.batch.keep(f)
		return d.settings(f)
	case http2.FrameGoAway:
		return d.goAway(f)
	default:
		d.batch.keep(f)
	}
	return nil
}

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
	d.spoke = true
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
		d.open[id] = &stream{id: id, clientDone: true, window: window{sender: d.initial, receiver: d.accepted}}
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

// answering returns the relayed request of a stream that the server has not answered to
// the end; nil if there is none. The caller holds the mutex.
func (d *down) answering(id uint32) *stream {
	if s := d.open[id]; s != nil && !s.serverDone {
		return s
	}
	return nil
}

// serverDone notes that the server has sent all of its answer.
func (d *down) serverDone(id uint32, fields []hpack.HeaderField) {
	d.mutex.Lock()
	s := d.open[id]
	if s == nil {
		d.mutex.Unlock()
		return
	}
	ended := s.plan.Ended
	s.serverDone, s.plan.Ended = true, nil
	if s.clientDone {
		delete(d.open, id)
		d.checkLeft()
	}
	d.mutex.Unlock()
	if ended != nil {
		ended(Outcome{End: Complete, Fields: fields})
	}
}

// data passes DATA on, or keeps it where it can't pass now.
func (d *down) data(f frame) error {
	last := f.flags.Has(http2.FlagDataEndStream)
	d.mutex.Lock()
	d.spoke = true
	s := d.answering(f.stream)
	d.toClient.receive(f.length)
	exceeded := d.toClient.sender < 0
	passes := f.length <= d.toClient.receiver && (s == nil || s.restoration == nil && !s.sending)
	if s != nil {
		s.window.receive(f.length)
	}
	if passes {
		d.toClient.pass(f.length)
		if s != nil {
			s.window.pass(f.length)
		}
	}
	d.mutex.Unlock()
	switch {
	case exceeded:
		return connectionError{http2.ErrCodeFlowControl, "more DATA than the client's window"}
	case passes:
		d.batch.keep(f)
		if s != nil {
			s.plan.watchFrame(FromServer, f)
		}
		if last {
			d.serverDone(f.stream, nil)
		}
		return nil
	case s == nil: // the client has no such request
		d.mutex.Lock()
		d.toClient.absorb(f.length)
		d.noteCredit(nil)
		d.mutex.Unlock()
		return nil
	}
	content, err := f.content()
	if err != nil {
		return err
	}
	d.mutex.Lock()
	d.toClient.absorb(f.length - len(content))
	s.window.absorb(f.length - len(content))
	collecting := s.restoration != nil && s.restoration.collecting
	d.mutex.Unlock()
	if collecting {
		return d.collect(s, content, last)
	}
	return d.hold(s, content, last)
}

// hold queues DATA that the client's window has no room for. Padding is left out, and
// given back to the server.
func (d *down) hold(s *stream, content []byte, last bool) error {
	s.plan.watch(FromServer, content)
	d.mutex.Lock()
	for d.toClient.held > bodiesLimit && d.failure == nil { // the client's windows are as large
		d.changed.Wait()
	}
	d.bodies += len(content)
	s.serverDone, s.ending = last, last
	d.noteCredit(s)
	d.mutex.Unlock()
	return d.enqueue(s, segment{data: bytes.Clone(content), held: true, end: last})
}

// reset passes RST_STREAM on, after what the client is still to get of a complete answer.
func (d *down) reset(f frame, code http2.ErrCode) {
	d.mutex.Lock()
	s := d.open[f.stream]
	if s != nil && s.ending {
		s.clientDone = true // it sends nothing more
		d.resetAfterQueue(s, code)
		d.mutex.Unlock()
		return
	}
	ended := d.close(f.stream)
	queued := s != nil && d.resetAfterQueue(s, code)
	d.mutex.Unlock()
	if !queued {
		d.batch.keep(f)
	}
	ended(Outcome{End: ServerReset, Code: code})
}

// windowUpdate passes the server's credit on, with what the relay still owes the client.
func (d *down) windowUpdate(f frame) error {
	if f.stream != 0 {
		d.batch.keep(f)
		return nil
	}
	increment, err := f.number()
	if err != nil {
		return err
	}
	d.mutex.Lock()
	d.toServer.update(int(increment))
	credit := d.toServer.give()
	d.mutex.Unlock()
	switch {
	case credit == int(increment):
		d.batch.keep(f)
	case credit > 0:
		d.batch.edit(func(b []byte) []byte { return appendWindowUpdate(b, 0, credit) })
	}
	return nil
}

// settings are the server's: they concern what it receives, and acknowledge the client's.
func (d *down) settings(f frame) error {
	if f.flags.Has(http2.FlagSettingsAck) {
		change, smallerTable := d.acknowledgeSettings()
		if smallerTable {
			d.update.require(uint32(change.table))
		}
		d.ackedSettings = append(d.ackedSettings, change)
		return nil
	}
	return f.settings(func(id http2.SettingID, value uint32) {
		switch id {
		case http2.SettingHeaderTableSize:
			d.serverTable.set(value)
		case http2.SettingMaxFrameSize:
			d.serverMaxFrame.Store(min(max(value, plainMaxFrame), bufferMax))
			d.serverFrameLimit.Store(max(value, plainMaxFrame))
		case http2.SettingInitialWindowSize:
			if most := uint32(windowLimit - plainWindow); value > most && d.hasWidened() {
				f.changeSetting(id, most)
				value = most
			}
			d.compensate(int(value))
		}
	})
}

// hasWidened reports whether a taken request's window is larger than the server knows, so
// that it could grow beyond what HTTP/2 allows (RFC 9113, 6.9.1).
func (d *down) hasWidened() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, x := range d.taken {
		if x.widened > 0 {
			return true
		}
	}
	return false
}

// compensate notes the initial window of requests. The server never widens a taken
// request's, so that a smaller one is compensated as far as the client needs it to go on.
func (d *down) compensate(uphill int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.uphill = uphill
	d.batch.edit(func(b []byte) []byte {
		for id, x := range d.taken {
			if more := plainWindow - uphill - x.widened; more > 0 {
				x.widened += more
				b = appendWindowUpdate(b, id, more)
			}
		}
		return b
	})
}

// goAway passes GOAWAY on. Taken requests that the server does not know are not
// for the client to make again, so that the last identifier becomes theirs; what
// the server really leaves out below it is refused instead.
func (d *down) goAway(f frame) error {
	if f.length < 8 {
		return connectionError{http2.ErrCodeFrameSize, "GOAWAY too short"}
	}
	payload := f.payload()
	last := binary.BigEndian.Uint32(payload) & streamMask
	if err := d.flush(); err != nil {
		return err
	}
	// The identifier is chosen and written in one: it must never grow (RFC 9113, 6.8).
	w := &d.clientWriter
	w.writing.Lock()
	announced, refused, ended := d.limitTo(last)
	binary.BigEndian.PutUint32(payload, announced)
	frames := slices.Clone(f.bytes)
	for _, id := range refused {
		frames = appendReset(frames, id, http2.ErrCodeRefusedStream)
	}
	err := w.writeLocked(d.client, frames)
	w.writing.Unlock()
	for _, end := range ended {
		end(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
	return err
}

// limitTo notes that the server answers no request after last. It returns the last one that
// the client may expect an answer to, those below it that the server does not answer, and
// the functions of their observers.
func (d *down) limitTo(last uint32) (announced uint32, refused []uint32, ended []func(Outcome)) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.serverLeaves = true
	d.limit = min(d.limit, max(last, d.lastTaken))
	for id, s := range d.open {
		if id > last && id%2 == 1 {
			ended = append(ended, d.close(id))
			if !d.resetAfterQueue(s, http2.ErrCodeRefusedStream) && id <= d.limit {
				refused = append(refused, id)
			}
		}
	}
	return d.limit, refused, ended
}
