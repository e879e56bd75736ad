package frames

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// down pumps what the server sends to the client.
type down struct {
	*Relay
	reader  reader
	batch   batch
	block   block
	held    []byte // the frames of a header block that is not complete
	decoder *decoder
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
	err := d.writeClient(frames)
	if err == nil && len(frames) > 0 && !d.settled.Load() {
		err = d.settle()
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
		d.batch.keep(f)
		d.mutex.Lock()
		ended := d.close(f.stream)
		d.mutex.Unlock()
		ended(Outcome{End: ServerReset, Code: http2.ErrCode(code)})
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
	fields, err := d.decoder.decode(d.block.fragments, d.clientTable.most.Load())
	if err != nil {
		return err
	}
	if s := d.answering(d.block.stream); s != nil && s.answer != nil && !d.block.promised {
		s.answer.noteHeader(fields)
		if d.block.flags.Has(http2.FlagHeadersEndStream) {
			if err := d.send(d.block.stream, s, false); err != nil {
				return err
			}
		}
	}
	if len(d.held) > 0 {
		d.held = append(d.held, f.bytes...)
		d.batch.edit(func(b []byte) []byte { return append(b, d.held...) })
		d.held = d.held[:0]
	} else {
		d.batch.keep(f)
	}
	if d.block.promised {
		return nil
	}
	d.mutex.Lock()
	d.spoke = true
	d.mutex.Unlock()
	if d.block.flags.Has(http2.FlagHeadersEndStream) {
		d.serverDone(d.block.stream, fields)
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

// data passes DATA on as far as the client's window allows.
func (d *down) data(f frame) error {
	last := f.flags.Has(http2.FlagDataEndStream)
	s := d.answering(f.stream)
	if s != nil && s.answer != nil {
		err := d.keep(s.answer, f)
		if err == nil && last {
			err = d.send(f.stream, s, true)
			d.serverDone(f.stream, nil)
		}
		return err
	}
	if s != nil {
		s.plan.watchFrame(FromServer, f)
	}
	d.mutex.Lock()
	d.spoke = true
	fits := d.connection >= f.length
	if fits {
		d.connection -= f.length
	}
	d.mutex.Unlock()
	if fits {
		d.batch.keep(f)
	} else if err := d.squeeze(f, last); err != nil {
		return err
	}
	if last {
		d.serverDone(f.stream, nil)
	}
	return nil
}

// squeeze passes on DATA that is larger than the client's window, as the client
// makes room. Padding is left out, and given back to the server.
func (d *down) squeeze(f frame, last bool) error {
	content, err := f.content()
	if err != nil {
		return err
	}
	if padding := f.length - len(content); padding > 0 {
		credit := appendWindowUpdate(appendWindowUpdate(nil, 0, padding), f.stream, padding)
		d.writeServer(credit)
	}
	if len(content) == 0 { // but for its end
		d.batch.edit(func(b []byte) []byte { return appendData(b, f.stream, nil, plainMaxFrame, last) })
	}
	for len(content) > 0 {
		if err := d.flush(); err != nil {
			return err
		}
		n := d.reserve(len(content))
		if n == 0 {
			return d.ended()
		}
		piece := content[:n]
		content = content[n:]
		d.batch.edit(func(b []byte) []byte {
			return appendData(b, f.stream, piece, plainMaxFrame, last && len(content) == 0)
		})
	}
	return nil
}

// settings are the server's: they concern what it receives.
func (d *down) settings(f frame) error {
	return f.settings(func(id http2.SettingID, value uint32) {
		switch id {
		case http2.SettingHeaderTableSize:
			d.serverTable.set(value)
		case http2.SettingMaxFrameSize:
			d.serverMaxFrame.Store(min(max(value, plainMaxFrame), bufferMax))
		case http2.SettingInitialWindowSize:
			d.mutex.Lock()
			lost := d.uphill - int(value)
			d.uphill = int(value)
			d.mutex.Unlock()
			if lost > 0 {
				d.compensate(lost)
			}
		}
	})
}

// compensate gives the taken requests back what a smaller initial window takes from
// them.
func (d *down) compensate(lost int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.batch.edit(func(b []byte) []byte {
		for id := range d.taken {
			b = appendWindowUpdate(b, id, lost)
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
	d.mutex.Lock()
	d.serverLeaves = true
	d.limit = min(d.limit, max(last, d.lastTaken))
	announced := d.limit
	var refused []uint32
	var ended []func(Outcome)
	for id := range d.open {
		if id > last {
			ended = append(ended, d.close(id))
			if id <= announced {
				refused = append(refused, id)
			}
		}
	}
	d.mutex.Unlock()
	binary.BigEndian.PutUint32(payload, announced)
	d.batch.keep(f)
	d.batch.edit(func(b []byte) []byte {
		for _, id := range refused {
			b = appendReset(b, id, http2.ErrCodeRefusedStream)
		}
		return b
	})
	for _, tell := range ended {
		tell(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
	return nil
}
