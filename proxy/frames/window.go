package frames

// creditLimit is how many bytes of credit a window may withhold from its sender, so that
// the credit of small messages is sent along with other frames.
const creditLimit = 16 << 10

// window is the flow-control window (RFC 9113, 5.2) of one direction of a connection or
// stream: the sender's view of it, the receiver's, and the bytes that the relay holds
// between the two. All are counts of bytes.
//
// For example, a client accepts 1,000 bytes: sender and receiver are 1,000. The server
// sends 300 that pass: both are 700. The relay injects 200 of its own: receiver is 500,
// and sender must not follow the client's next updates until it is owed no less. The
// server sends 400 that the relay keeps for itself: sender is 300 and due is 200, which
// the relay gives the server as credit.
//
// The sender never has more credit than the receiver accepts and the relay does not hold
// already, except for what the relay has injected since: sender + held + due - injected =
// receiver.
type window struct {
	sender   int // what the sender may still send
	receiver int // what the receiver still accepts
	held     int // what the sender has sent and the receiver will get
}

func newWindow(size int) window { return window{sender: size, receiver: size} }

// receive notes n bytes from the sender. They are held until pass or absorb.
func (w *window) receive(n int) {
	w.sender -= n
	w.held += n
}

// pass notes that the receiver gets n of the bytes that are held.
func (w *window) pass(n int) {
	w.held -= n
	w.receiver -= n
}

// absorb notes that the receiver never gets n of the bytes that are held.
func (w *window) absorb(n int) { w.held -= n }

// inject notes n bytes for the receiver that the sender has not sent.
func (w *window) inject(n int) { w.receiver -= n }

// update notes that the receiver accepts n bytes more.
func (w *window) update(n int) { w.receiver += n }

// due returns the credit that the sender has not been given yet.
func (w *window) due() int { return max(0, w.receiver-w.sender-w.held) }

// give notes that the sender is given the credit that is due, and returns it.
func (w *window) give() int {
	n := w.due()
	w.sender += n
	return n
}

// urgent reports whether the sender should be given what is due now: it is much, or as
// much as the sender has left, which may be too little to go on.
func (w *window) urgent() bool {
	due := w.due()
	return due > 0 && (due >= creditLimit || due >= w.sender)
}

// windows are those of a connection, guarded by the relay's mutex.
type windows struct {
	toClient window
	toServer window
	uphill   int // initial window of each stream towards the server
}

func newWindows() windows {
	return windows{toClient: newWindow(plainWindow), toServer: newWindow(plainWindow), uphill: plainWindow}
}

// appendCredit appends the credit that the client is due for its connection. The caller
// holds the mutex.
func (r *Relay) appendCredit(b []byte) []byte {
	if n := r.toServer.give(); n > 0 {
		b = appendWindowUpdate(b, 0, n)
	}
	return b
}
