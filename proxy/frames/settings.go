package frames

import "golang.org/x/net/http2"

// settingsLimit is the maximum number of the client's SETTINGS frames that the server has not
// acknowledged.
const settingsLimit = 10_000

// settingsChange holds the values of one SETTINGS frame of the client that the relay needs for
// its own frames. A value that the frame does not set is unchanged.
//
// For example, the client announces a larger window. The relay uses it only when the server's
// acknowledgement has been written to the client (RFC 9113, 6.5.3). Then the client announces
// a smaller window. The relay uses this one at once, so that no DATA exceeds it after the
// acknowledgement.
type settingsChange struct {
	table    int // SETTINGS_HEADER_TABLE_SIZE
	initial  int // SETTINGS_INITIAL_WINDOW_SIZE
	maxFrame int // SETTINGS_MAX_FRAME_SIZE, within the bounds of the relay
}

const unchanged = -1 // a value of settingsChange that is not set

func newSettingsChange() settingsChange { return settingsChange{unchanged, unchanged, unchanged} }

// clientSettings are the settings of the client. They are guarded by Relay.mutex.
type clientSettings struct {
	announcedWindow int              // initial window of a stream in the server's view
	appliedWindow   int              // initial window of a stream that the relay uses
	maxFrame        int              // longest frame that the relay itself sends
	table           int              // acknowledged size of the HPACK table
	unacknowledged  []settingsChange // oldest first
}

func newClientSettings() clientSettings {
	return clientSettings{
		announcedWindow: defaultWindow,
		appliedWindow:   defaultWindow,
		maxFrame:        defaultMaxFrame,
		table:           defaultTableSize,
	}
}

// announceSettings records SETTINGS from the client. It applies the values that become smaller
// at once.
func (r *Relay) announceSettings(change settingsChange) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.clientSettings.unacknowledged = append(r.clientSettings.unacknowledged, change)
	if len(r.clientSettings.unacknowledged) > settingsLimit {
		return connectionError{http2.ErrCodeEnhanceYourCalm, "too many unacknowledged SETTINGS frames"}
	}
	if change.maxFrame != unchanged {
		r.clientSettings.maxFrame = min(r.clientSettings.maxFrame, change.maxFrame)
	}
	if change.initial != unchanged {
		for _, s := range r.relayed {
			s.window.resizeSender(change.initial - r.clientSettings.announcedWindow)
		}
		r.clientSettings.announcedWindow = change.initial
		r.setAppliedWindow(min(r.clientSettings.appliedWindow, change.initial))
	}
	return nil
}

// setAppliedWindow changes appliedWindow, and the window of each open stream by the same
// amount. The caller holds the mutex.
func (r *Relay) setAppliedWindow(size int) {
	by := size - r.clientSettings.appliedWindow
	r.clientSettings.appliedWindow = size
	for _, i := range r.intercepted {
		i.window.add(by)
	}
	for _, s := range r.relayed {
		s.window.add(by)
		r.returnUrgentCredit(s) // the pending credit may have become urgent
	}
	r.changed.Broadcast()
}

// acknowledgeSettings handles an acknowledgement from the server. It removes and returns the
// oldest unacknowledged SETTINGS, and reports whether they make the client's HPACK table
// smaller.
func (r *Relay) acknowledgeSettings() (change settingsChange, smallerTable bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.clientSettings.unacknowledged) == 0 {
		return newSettingsChange(), false
	}
	change, r.clientSettings.unacknowledged = r.clientSettings.unacknowledged[0], r.clientSettings.unacknowledged[1:]
	if change.table != unchanged {
		smallerTable = change.table < r.clientSettings.table
		r.clientSettings.table = change.table
	}
	return change, smallerTable
}

// applySettings applies the values of the client's SETTINGS that become larger. It is called
// when the acknowledgement has been written to the client. If later SETTINGS that are not
// acknowledged yet contain a smaller value, it uses the smaller one.
func (r *Relay) applySettings(change settingsChange) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, later := range r.clientSettings.unacknowledged {
		if later.initial != unchanged {
			change.initial = min(change.initial, later.initial)
		}
		if later.maxFrame != unchanged {
			change.maxFrame = min(change.maxFrame, later.maxFrame)
		}
	}
	r.clientSettings.maxFrame = max(r.clientSettings.maxFrame, change.maxFrame)
	if change.initial > r.clientSettings.appliedWindow {
		r.setAppliedWindow(change.initial)
	}
}
