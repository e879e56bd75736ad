package frames

import "golang.org/x/net/http2"

func (p *clientToServer) windowUpdate(f frame) error {
	increment, err := f.number()
	if err != nil {
		return err
	}
	credit, known, mistake := p.updateWindow(f.stream, int(increment))
	switch {
	case mistake != http2.ErrCodeNo && f.stream == 0:
		return connectionError{mistake, "invalid WINDOW_UPDATE increment"}
	case mistake != http2.ErrCodeNo:
		p.resetIntercepted(f.stream, mistake)
	case known && credit == int(increment):
		p.batch.keep(f)
	case !known:
	case credit > 0:
		p.batch.edit(func(b []byte) []byte { return appendWindowUpdate(b, f.stream, credit) })
	}
	return nil
}

// updateWindow adds a WINDOW_UPDATE of n bytes from the client to the window of a stream, or
// of the connection if id is 0. It returns the credit to forward to the server. known reports
// whether the server knows the stream. mistake is the error code of an invalid update that
// the server does not check, and http2.ErrCodeNo otherwise.
func (p *clientToServer) updateWindow(id uint32, n int) (credit int, known bool, mistake http2.ErrCode) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.changed.Broadcast()
	if id == 0 {
		if mistake = p.flow.toClient.checkUpdate(n); mistake != http2.ErrCodeNo {
			return 0, true, mistake
		}
		p.flow.toClient.add(n)
		return p.flow.toClient.takeCredit(), true, http2.ErrCodeNo
	}
	if i := p.intercepted[id]; i != nil {
		if mistake = i.window.checkUpdate(n); mistake == http2.ErrCodeNo {
			i.window.add(n)
		}
		return 0, false, mistake
	}
	s := p.relayed[id]
	switch {
	case s == nil:
		return n, id%2 == 1 && id > p.maxClientStreamID, http2.ErrCodeNo // the server checks the update of an unused stream
	case s.window.checkUpdate(n) != http2.ErrCodeNo:
		return n, true, http2.ErrCodeNo // the invalid update is forwarded, and the server rejects it
	}
	s.window.add(n)
	if p.creditPaused(s) {
		p.returnUrgentCredit(s) // sends the credit once memory is released
		return 0, true, http2.ErrCodeNo
	}
	return s.window.takeCredit(), true, http2.ErrCodeNo
}

// resetIntercepted resets an intercepted request after a protocol error of the client.
func (p *clientToServer) resetIntercepted(id uint32, code http2.ErrCode) {
	p.mutex.Lock()
	i := p.intercepted[id]
	p.mutex.Unlock()
	if i != nil {
		i.cancelByClient(code)
		p.controlFrames = appendReset(p.controlFrames, id, code)
	}
}

// settings records the client's SETTINGS, which apply to frames for the client, and forwards
// them.
func (p *clientToServer) settings(f frame) error {
	change := newSettingsChange()
	err := f.settings(func(id http2.SettingID, value uint32) {
		switch id {
		case http2.SettingHeaderTableSize:
			p.clientTable.set(value)
			change.table = int(value)
		case http2.SettingMaxHeaderListSize:
			p.clientListLimit.Store(value)
		case http2.SettingInitialWindowSize:
			change.initial = int(value)
		case http2.SettingMaxFrameSize:
			change.maxFrame = min(max(int(value), defaultMaxFrame), bufferMax)
		}
	})
	if err == nil && !f.flags.Has(http2.FlagSettingsAck) {
		err = p.announceSettings(change)
	}
	p.batch.keep(f)
	return err
}
