package frames

const (
	requestBodyLimit = 64 << 20  // maximum of the buffered body of one request, in bytes
	bufferLimit      = 128 << 20 // maximum of all buffered requests and answers of a relay, in bytes
)

// serverCredit is the state of a goroutine that returns flow-control credit to the server.
// The loop that reads the server must not write the credit itself, because it would block
// while the server does not read. serverCredit is guarded by Relay.mutex.
type serverCredit struct {
	returning bool                 // the goroutine runs
	urgent    map[*stream]struct{} // streams with urgent credit; see relayWindow.creditUrgent
}

// returnUrgentCredit starts the goroutine that returns credit to the server, if credit is
// urgent and the goroutine does not run. s is a stream with a changed window, or nil if only
// the window of the connection has changed. The caller holds the mutex.
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
			continue // tried again when memory is released
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

// creditPaused reports whether a stream gets no credit for now. For example, the answers of
// ten streams are being collected, and half of bufferLimit is used. Then only the oldest of
// these streams gets credit, so that its answer completes and releases memory. The caller
// holds the mutex.
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

// releaseBuffered records that n bytes have been released. The caller holds the mutex.
func (r *Relay) releaseBuffered(n int) {
	r.buffered -= n
	if len(r.credit.urgent) > 0 {
		r.returnUrgentCredit(nil)
	}
}
