package frames

import (
	"fmt"

	"golang.org/x/net/http2"
)

// serverToClient is the loop that reads frames from the server and forwards them to the
// client. It queues frames that cannot be written yet, and the goroutine of their stream sends
// them.
type serverToClient struct {
	*Relay
	reader      reader
	batch       batch
	block       block
	blockFrames []byte // the frames of a header block that is not complete
	decoder     *decoder
	tableUpdate tableUpdate // for the next header block that the relay encodes
	// ackedSettings are the client's SETTINGS that a frame in the batch acknowledges.
	ackedSettings []settingsChange
	// reencoding is set when header blocks are encoded again, without the dynamic table. This
	// is necessary once a header block of the server reaches the client out of order, because
	// the client's table then differs from the server's.
	reencoding bool
}

func newServerToClient(r *Relay) *serverToClient {
	p := &serverToClient{Relay: r, decoder: newDecoder()}
	p.reader.from = r.server
	p.batch.from = &p.reader
	return p
}

func (p *serverToClient) run() error {
	for {
		if err := p.reader.fill(); err != nil {
			return fmt.Errorf("%w: %w", ErrServerDisconnected, err)
		}
		for {
			f, ok, err := p.reader.next()
			if err == nil && ok {
				err = p.frame(f)
			}
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
}

func (p *serverToClient) flush() error {
	frames := p.batch.take()
	if len(frames) == 0 {
		return nil
	}
	err := p.clientWriter.writeBatch(p.client, frames, p.tableUpdate)
	for _, change := range p.ackedSettings {
		p.applySettings(change)
	}
	p.ackedSettings = p.ackedSettings[:0]
	if err == nil && !p.serverSettingsSent.Load() {
		p.noteServerSettings()
	}
	return err
}

func (p *serverToClient) frame(f frame) error {
	if err := p.block.inOrder(f); err != nil {
		return err
	}
	switch f.kind {
	case http2.FrameHeaders:
		complete, err := p.block.begin(f)
		return p.headers(f, complete, err)
	case http2.FramePushPromise:
		complete, err := p.block.promise(f)
		return p.headers(f, complete, err)
	case http2.FrameContinuation:
		complete, err := p.block.proceed(f)
		return p.headers(f, complete, err)
	case http2.FrameData:
		return p.data(f)
	case http2.FrameRSTStream:
		code, err := f.number()
		if err != nil {
			return err
		}
		p.reset(f, http2.ErrCode(code))
	case http2.FrameWindowUpdate:
		return p.windowUpdate(f)
	case http2.FrameSettings:
		p.batch.keep(f)
		return p.settings(f)
	case http2.FrameGoAway:
		return p.goAway(f)
	default:
		p.batch.keep(f)
	}
	return nil
}

// reset forwards RST_STREAM. If the answer is complete but still queued, the client gets the
// reset after the answer.
func (p *serverToClient) reset(f frame, code http2.ErrCode) {
	p.mutex.Lock()
	s := p.relayed[f.stream]
	if s != nil && s.endQueued {
		s.clientDone = true // the reset ends the request, too
		p.resetAfterQueue(s, code)
		p.mutex.Unlock()
		return
	}
	ended := p.closeStream(f.stream)
	queued := s != nil && p.resetAfterQueue(s, code)
	p.mutex.Unlock()
	if !queued {
		p.batch.keep(f)
	}
	ended(Outcome{End: ServerReset, Code: code})
}

// windowUpdate forwards WINDOW_UPDATE. For the connection, it adds the credit that the relay
// has pending for the client.
func (p *serverToClient) windowUpdate(f frame) error {
	if f.stream != 0 {
		p.batch.keep(f)
		return nil
	}
	increment, err := f.number()
	if err != nil {
		return err
	}
	p.mutex.Lock()
	p.flow.toServer.add(int(increment))
	credit := p.flow.toServer.takeCredit()
	p.mutex.Unlock()
	switch {
	case credit == int(increment):
		p.batch.keep(f)
	case credit > 0:
		p.batch.edit(func(b []byte) []byte { return appendWindowUpdate(b, 0, credit) })
	}
	return nil
}

// settings records the server's SETTINGS, which apply to frames for the server, or its
// acknowledgement of the client's SETTINGS.
func (p *serverToClient) settings(f frame) error {
	if f.flags.Has(http2.FlagSettingsAck) {
		change, smallerTable := p.acknowledgeSettings()
		if smallerTable {
			p.tableUpdate.require(uint32(change.table))
		}
		p.ackedSettings = append(p.ackedSettings, change)
		return nil
	}
	return f.settings(func(id http2.SettingID, value uint32) {
		switch id {
		case http2.SettingHeaderTableSize:
			p.serverTable.set(value)
		case http2.SettingMaxFrameSize:
			p.serverMaxFrame.Store(min(max(value, defaultMaxFrame), bufferMax))
			p.serverFrameLimit.Store(max(value, defaultMaxFrame))
		case http2.SettingInitialWindowSize:
			if most := uint32(windowLimit - defaultWindow); value > most && p.hasExtraCredit() {
				f.changeSetting(id, most)
				value = most
			}
			p.setServerInitialWindow(int(value))
		}
	})
}

// hasExtraCredit reports whether the relay has given the client extra credit for an
// intercepted request. Such a window could exceed the largest window of HTTP/2 when the
// server enlarges the initial one (RFC 9113, 6.9.1).
func (p *serverToClient) hasExtraCredit() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, i := range p.intercepted {
		if i.extraCredit > 0 {
			return true
		}
	}
	return false
}

// setServerInitialWindow records the server's initial window. If it is smaller than the
// default, the relay gives the client the difference as credit for intercepted requests,
// because the server sends no WINDOW_UPDATE for them.
func (p *serverToClient) setServerInitialWindow(size int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.flow.serverInitialWindow = size
	p.batch.edit(func(b []byte) []byte {
		for id, i := range p.intercepted {
			if more := defaultWindow - size - i.extraCredit; more > 0 {
				i.extraCredit += more
				b = appendWindowUpdate(b, id, more)
			}
		}
		return b
	})
}
