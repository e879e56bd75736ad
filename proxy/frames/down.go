package frames

import (
	"fmt"

	"golang.org/x/net/http2"
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
	ackedSettings []settingsChange
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
	err := d.clientWriter.writeBatch(d.client, frames, d.update)
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
	d.flow.toServer.add(int(increment))
	credit := d.flow.toServer.takeCredit()
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
	d.flow.serverInitialWindow = uphill
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
