package frames

// credits returns flow-control credit to the server, in a goroutine of its own: the pump
// that reads the server must not wait for the server to read. It is guarded by the
// relay's mutex.
type credits struct {
	crediting bool
	starved   map[*stream]struct{} // streams whose credit is urgent
}

// noteCredit returns the server's credit if it is urgent. s is the stream whose
// window has changed; nil for the connection alone. The caller holds the mutex.
func (r *Relay) noteCredit(s *stream) {
	if s != nil && s.window.creditUrgent() {
		if r.starved == nil {
			r.starved = map[*stream]struct{}{}
		}
		r.starved[s] = struct{}{}
	}
	if r.crediting || r.failure != nil || !r.flow.toClient.creditUrgent() && len(r.starved) == 0 {
		return
	}
	r.crediting = true
	r.handlers.Go(r.returnCredit)
}

func (r *Relay) returnCredit() {
	for {
		r.mutex.Lock()
		frames := r.appendServerCredit(nil)
		r.crediting = len(frames) > 0
		r.mutex.Unlock()
		if len(frames) == 0 {
			return
		}
		r.writeServer(frames)
	}
}

// appendServerCredit appends the credit that is urgent. The caller holds the mutex.
func (r *Relay) appendServerCredit(b []byte) []byte {
	if r.flow.toClient.creditUrgent() {
		b = appendWindowUpdate(b, 0, r.flow.toClient.takeCredit())
	}
	for s := range r.starved {
		if r.mustWait(s) {
			continue // until memory is released
		}
		delete(r.starved, s)
		if s.serverDone || r.open[s.id] != s {
			continue
		}
		if credit := s.window.takeCredit(); credit > 0 {
			b = appendWindowUpdate(b, s.id, credit)
		}
	}
	return b
}
