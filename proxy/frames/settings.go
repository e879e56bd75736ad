package frames

import "golang.org/x/net/http2"

// settingsLimit bounds the SETTINGS of the client that the server has not acknowledged.
const settingsLimit = 10_000

// settingsChange holds the values of one SETTINGS frame of the client that concern frames
// made by the relay. A value that the frame does not set is unchanged.
//
// The two ends of a connection may apply a change at different times. For example, the
// client announces a larger window. The relay must not use it before the server's
// acknowledgement has reached the client (RFC 9113, 6.5.3). A smaller window it uses at
// once, so that nothing exceeds it after the acknowledgement.
type settingsChange struct {
	table    int // size of the client's HPACK table
	initial  int // window of each stream
	maxFrame int // longest frame
}

const unchanged = -1

func newSettingsChange() settingsChange { return settingsChange{unchanged, unchanged, unchanged} }

// clientSettings are the settings of the client. They are guarded by Relay.mutex.
type clientSettings struct {
	announcedWindow int              // initial window of each stream, which the server uses
	appliedWindow   int              // the one that the relay uses
	maxFrame        int              // longest frame that the relay makes
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

// announceSettings records SETTINGS of the client and applies the values that become
// smaller.
func (r *Relay) announceSettings(change settingsChange) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.clientSettings.unacknowledged = append(r.clientSettings.unacknowledged, change)
	if len(r.clientSettings.unacknowledged) > settingsLimit {
		return connectionError{http2.ErrCodeEnhanceYourCalm, "too many SETTINGS that are not acknowledged"}
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

// setAppliedWindow changes appliedWindow, and the window of each open stream by as much. The caller holds the mutex.
func (r *Relay) setAppliedWindow(size int) {
	by := size - r.clientSettings.appliedWindow
	r.clientSettings.appliedWindow = size
	for _, i := range r.intercepted {
		i.window.add(by)
	}
	for _, s := range r.relayed {
		s.window.add(by)
		r.returnUrgentCredit(s) // what was little before may be all that the server needs
	}
	r.changed.Broadcast()
}

// acknowledgeSettings returns the oldest SETTINGS, which the server acknowledges, and
// whether they make the client's HPACK table smaller.
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

// applySettings applies what has become larger in SETTINGS of the client, when it has their
// acknowledgement. A later change that is not acknowledged may make it smaller again.
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
