package frames

// windows are the client's for what it receives (RFC 9113, 5.2), guarded by the
// relay's mutex.
type windows struct {
	connection int // what the client really has left
	owed       int // what the server believes it has left beyond that
	initial    int // of each stream
	maxFrame   int // longest frame that the client takes
	credit     int // bytes of taken requests that the client is to get back
	uphill     int // initial window of each stream that the server receives
}

func newWindows() windows {
	return windows{connection: plainWindow, initial: plainWindow, maxFrame: plainMaxFrame, uphill: plainWindow}
}

// creditLimit is how many bytes of taken requests may go without being credited,
// so that the credit of small ones goes with their answers.
const creditLimit = 16 << 10

// reserve takes up to n bytes of the client's connection window for the server's
// DATA, and waits until there is at least one. It is 0 where the connection has ended.
func (r *Relay) reserve(n int) int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for r.connection <= 0 && r.failure == nil {
		r.changed.Wait()
	}
	if r.failure != nil {
		return 0
	}
	n = min(n, r.connection)
	r.connection -= n
	return n
}

// returned takes note of bytes that the client gives back to its connection window.
// It returns how many of them the server may know of.
func (r *Relay) returned(n int) int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.connection += n
	kept := min(n, r.owed)
	r.owed -= kept
	r.changed.Broadcast()
	return n - kept
}

// appendCredit appends the connection's credit to frames for the client. The
// caller holds the mutex.
func (r *Relay) appendCredit(b []byte) []byte {
	if r.credit > 0 {
		b = appendWindowUpdate(b, 0, r.credit)
		r.credit = 0
	}
	return b
}
