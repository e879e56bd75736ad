package frames

import "golang.org/x/net/http2"

func (u *up) windowUpdate(f frame) error {
	increment, err := f.number()
	if err != nil {
		return err
	}
	credit, known, mistake := u.updateWindow(f.stream, int(increment))
	switch {
	case mistake != http2.ErrCodeNo && f.stream == 0:
		return connectionError{mistake, "WINDOW_UPDATE of a number that is not allowed"}
	case mistake != http2.ErrCodeNo:
		u.resetTaken(f.stream, mistake)
	case known && credit == int(increment):
		u.batch.keep(f)
	case !known:
	case credit > 0:
		u.batch.edit(func(b []byte) []byte { return appendWindowUpdate(b, f.stream, credit) })
	}
	return nil
}

// updateWindow notes that the client accepts n bytes more for the connection or a stream,
// and returns the credit for the server. It reports whether the server knows the stream,
// and what is wrong with the update if the server can't see that.
func (u *up) updateWindow(id uint32, n int) (credit int, known bool, mistake http2.ErrCode) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	u.changed.Broadcast()
	if id == 0 {
		if mistake = u.flow.toClient.checkUpdate(n); mistake != http2.ErrCodeNo {
			return 0, true, mistake
		}
		u.flow.toClient.add(n)
		return u.flow.toClient.takeCredit(), true, http2.ErrCodeNo
	}
	if exchange := u.taken[id]; exchange != nil {
		if mistake = exchange.window.checkUpdate(n); mistake == http2.ErrCodeNo {
			exchange.window.add(n)
		}
		return 0, false, mistake
	}
	s := u.open[id]
	switch {
	case s == nil:
		return n, id%2 == 1 && id > u.highest, http2.ErrCodeNo // the server judges that of an unused stream
	case s.window.checkUpdate(n) != http2.ErrCodeNo:
		return n, true, http2.ErrCodeNo // it passes, and the server judges it
	}
	s.window.add(n)
	if u.mustWait(s) {
		u.noteCredit(s) // it is given when memory is released
		return 0, true, http2.ErrCodeNo
	}
	return s.window.takeCredit(), true, http2.ErrCodeNo
}

// resetTaken ends a taken request that the client has made a mistake with.
func (u *up) resetTaken(id uint32, code http2.ErrCode) {
	u.mutex.Lock()
	exchange := u.taken[id]
	u.mutex.Unlock()
	if exchange != nil {
		exchange.abandon(code)
		u.answers = appendReset(u.answers, id, code)
	}
}

// settings are the client's: they concern what it receives.
func (u *up) settings(f frame) error {
	change := newSettingsChange()
	err := f.settings(func(id http2.SettingID, value uint32) {
		switch id {
		case http2.SettingHeaderTableSize:
			u.clientTable.set(value)
			change.table = int(value)
		case http2.SettingMaxHeaderListSize:
			u.clientListLimit.Store(value)
		case http2.SettingInitialWindowSize:
			change.initial = int(value)
		case http2.SettingMaxFrameSize:
			change.maxFrame = min(max(int(value), plainMaxFrame), bufferMax)
		}
	})
	if err == nil && !f.flags.Has(http2.FlagSettingsAck) {
		err = u.announceSettings(change)
	}
	u.batch.keep(f)
	return err
}
