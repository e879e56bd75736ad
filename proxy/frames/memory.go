package frames

const (
	bodyLimit   = 64 << 20  // of a taken request's body that is not consumed, in bytes
	bodiesLimit = 128 << 20 // of all bodies and answers that a connection's relay keeps
)

// mustWait reports whether a stream whose answer is being collected gets no credit for
// now. When half of the memory is used only the oldest of them goes on, so that at least
// that one is completed. The caller holds the mutex.
func (r *Relay) mustWait(s *stream) bool {
	if r.bodies < bodiesLimit/2 || s.restoration == nil || !s.restoration.collecting {
		return false
	}
	for id, other := range r.open {
		if id < s.id && other.restoration != nil && other.restoration.collecting && !other.serverDone {
			return true
		}
	}
	return false
}

// release notes that n bytes are no longer kept. The caller holds the mutex.
func (r *Relay) release(n int) {
	r.bodies -= n
	if len(r.credit.urgent) > 0 {
		r.noteCredit(nil)
	}
}
