package frames

const (
	requestBodyLimit = 64 << 20  // of an intercepted request's body that is not consumed, in bytes
	bufferLimit      = 128 << 20 // of all bodies and answers that a connection's relay keeps
)

// creditPaused reports whether a stream whose answer is being collected gets no credit for
// now. When half of the buffer limit is used, only the oldest of these streams gets
// credit, so that at least one is completed. The caller holds the mutex.
func (r *Relay) creditPaused(s *stream) bool {
	if r.buffered < bufferLimit/2 || s.restoration == nil || !s.restoration.collecting {
		return false
	}
	for id, other := range r.relayed {
		if id < s.id && other.restoration != nil && other.restoration.collecting && !other.serverDone {
			return true
		}
	}
	return false
}

// releaseBuffered notes that n bytes are no longer buffered. The caller holds the mutex.
func (r *Relay) releaseBuffered(n int) {
	r.buffered -= n
	if len(r.credit.urgent) > 0 {
		r.returnUrgentCredit(nil)
	}
}
