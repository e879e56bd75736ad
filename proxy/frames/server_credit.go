package frames

const (
	requestBodyLimit = 64 << 20  // of an intercepted request's body that is not consumed, in bytes
	bufferLimit      = 128 << 20 // of all bodies and answers that a connection's relay keeps
)

// serverCredit is the state of the goroutine that returns flow-control credit to the
// server: the pump that reads the server must not wait for the server to read. It is
// guarded by Relay.mutex.
type serverCredit struct {
	returning bool                 // the goroutine runs
	urgent    map[*stream]struct{} // streams whose credit is urgent
}

// returnUrgentCredit starts returning credit to the server if it is urgent. s is the
// stream whose window has changed; nil for the connection alone. The caller holds the
// mutex.
func (r *Relay) returnUrgentCredit(s *stream) {
	if s != nil && s.window.creditUrgent() {
		if r.credit.urgent == nil {
			r.credit.urgent = map[*stream]struct{}{}
		}
		r.credit.urgent[s] = struct{}{}
	}
	if r.credit.returning || r.failure != nil || !r.flow.toClient.creditUrgent() && len(r.credit.urgent) == 0 {
		return
	}
	r.credit.returning = true
	r.handlers.Go(r.writeUrgentCredit)
}

func (r *Relay) writeUrgentCredit() {
	for {
		r.mutex.Lock()
		frames := r.appendUrgentCredit(nil)
		r.credit.returning = len(frames) > 0
		r.mutex.Unlock()
		if len(frames) == 0 {
			return
		}
		r.writeServer(frames)
	}
}

// appendUrgentCredit appends WINDOW_UPDATE frames for urgent credit. The caller holds the
// mutex.
func (r *Relay) appendUrgentCredit(b []byte) []byte {
	if r.flow.toClient.creditUrgent() {
		b = appendWindowUpdate(b, 0, r.flow.toClient.takeCredit())
	}
	for s := range r.credit.urgent {
		if r.creditPaused(s) {
			continue // until memory is released
		}
		delete(r.credit.urgent, s)
		if s.serverDone || r.relayed[s.id] != s {
			continue
		}
		if credit := s.window.takeCredit(); credit > 0 {
			b = appendWindowUpdate(b, s.id, credit)
		}
	}
	return b
}

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
