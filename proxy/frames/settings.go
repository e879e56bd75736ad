package frames

import "golang.org/x/net/http2"

// settingsLimit bounds the SETTINGS of the client that the server has not acknowledged.
const settingsLimit = 10_000

// announcement is what SETTINGS of the client change for frames that the relay makes; what
// they do not change is unchanged.
//
// Both ends of a connection may see a change at different times. For example, the client
// announces a larger window. It must not get more before the server's acknowledgement has
// reached it (RFC 9113, 6.5.3), which is when the relay uses the larger one. A smaller
// window the relay uses at once, so that nothing exceeds it after the acknowledgement.
type announcement struct {
	table    int // size of the client's HPACK table
	initial  int // window of each stream
	maxFrame int // longest frame
}

const unchanged = -1

func newAnnouncement() announcement { return announcement{unchanged, unchanged, unchanged} }

// clientSettings are those of the client, guarded by the relay's mutex.
type clientSettings struct {
	initial  int            // announced window of each stream, which the server goes by
	accepted int            // the one that the relay goes by
	maxFrame int            // longest frame that the relay makes
	table    int            // acknowledged size of the HPACK table
	pending  []announcement // not acknowledged, oldest first
}

func newClientSettings() clientSettings {
	return clientSettings{initial: plainWindow, accepted: plainWindow, maxFrame: plainMaxFrame, table: tableSize}
}

// announceSettings notes SETTINGS of the client, of which it applies what becomes smaller.
func (r *Relay) announceSettings(change announcement) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.pending = append(r.pending, change)
	if len(r.pending) > settingsLimit {
		return connectionError{http2.ErrCodeEnhanceYourCalm, "too many SETTINGS that are not acknowledged"}
	}
	if change.maxFrame != unchanged {
		r.maxFrame = min(r.maxFrame, change.maxFrame)
	}
	if change.initial != unchanged {
		for _, s := range r.open {
			s.window.resizeSender(change.initial - r.initial)
		}
		r.initial = change.initial
		r.accept(min(r.accepted, change.initial))
	}
	return nil
}

// accept sets the window of each stream that the relay goes by. The caller holds the mutex.
func (r *Relay) accept(size int) {
	by := size - r.accepted
	r.accepted = size
	for _, x := range r.taken {
		x.window.add(by)
	}
	for _, s := range r.open {
		s.window.add(by)
		r.noteCredit(s) // what was little before may be all that the server needs
	}
	r.changed.Broadcast()
}

// acknowledgeSettings returns the oldest SETTINGS, which the server acknowledges, and
// whether they make the client's HPACK table smaller.
func (r *Relay) acknowledgeSettings() (change announcement, smallerTable bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.pending) == 0 {
		return newAnnouncement(), false
	}
	change, r.pending = r.pending[0], r.pending[1:]
	if change.table != unchanged {
		smallerTable = change.table < r.table
		r.table = change.table
	}
	return change, smallerTable
}

// applySettings applies what has become larger in SETTINGS of the client, when it has their
// acknowledgement. A later change that is not acknowledged may make it smaller again.
func (r *Relay) applySettings(change announcement) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, later := range r.pending {
		if later.initial != unchanged {
			change.initial = min(change.initial, later.initial)
		}
		if later.maxFrame != unchanged {
			change.maxFrame = min(change.maxFrame, later.maxFrame)
		}
	}
	r.maxFrame = max(r.maxFrame, change.maxFrame)
	if change.initial > r.accepted {
		r.accept(change.initial)
	}
}
