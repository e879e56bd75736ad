package frames

import "golang.org/x/net/http2"

// window is a flow-control window (RFC 9113, 5.2) as its sender sees it: how many bytes
// of DATA the receiver still accepts. DATA of a stream counts in the window of the
// connection, too.
type window struct {
	size       int     // negative after the receiver has reduced it
	connection *window // nil for the window of a connection
}

// available returns how many bytes can be sent now. It is not positive if none can.
func (w *window) available() int {
	if w.connection == nil {
		return w.size
	}
	return min(w.size, w.connection.size)
}

// take notes n bytes that are sent.
func (w *window) take(n int) {
	w.size -= n
	if w.connection != nil {
		w.connection.size -= n
	}
}

// add notes a WINDOW_UPDATE for n bytes, or a change of the initial size.
func (w *window) add(n int) { w.size += n }

// checkUpdate returns the error of a WINDOW_UPDATE for n bytes (RFC 9113, 6.9 and 6.9.1);
// http2.ErrCodeNo if it is valid.
func (w *window) checkUpdate(n int) http2.ErrCode {
	switch {
	case n == 0:
		return http2.ErrCodeProtocol
	case w.size+n > windowLimit:
		return http2.ErrCodeFlowControl
	}
	return http2.ErrCodeNo
}

// inflow counts received bytes of DATA until their sender gets them back as credit.
type inflow struct {
	uncredited int
	limit      int // uncredited bytes that are credited at once
}

// receive notes n bytes of DATA.
func (f *inflow) receive(n int) { f.uncredited += n }

// due reports whether the limit is reached.
func (f *inflow) due() bool { return f.uncredited >= f.limit }

// appendCredit appends a WINDOW_UPDATE for all uncredited bytes if it is due.
func (f *inflow) appendCredit(b []byte, stream uint32) []byte {
	if !f.due() {
		return b
	}
	b = appendWindowUpdate(b, stream, f.uncredited)
	f.uncredited = 0
	return b
}

// creditLimit is how many bytes of credit a window may withhold from its sender, so that
// the credit of small messages is sent along with other frames.
const creditLimit = 16 << 10

// relayWindow is a window between two ends that the relay joins: the sender's view of it,
// the receiver's, and the bytes that the relay holds between the two.
//
// For example, a client accepts 1,000 bytes: sender and receiver are 1,000. The server
// sends 300 that pass: both are 700. The relay injects 200 of its own: receiver is 500,
// and the next 200 bytes of the client's updates are hidden from the sender. The server
// sends 400 that the relay keeps for itself: sender is 300 and 200 bytes of credit are
// pending, which the relay gives the server.
//
// The sender never has more credit than the receiver accepts and the relay does not hold
// already, except for the bytes that the relay has injected since:
// sender + held + pending credit - injected = receiver.
type relayWindow struct {
	sender     int    // bytes that the sender may still send
	receiver   window // the receiver's
	held       int    // bytes that the sender has sent and the receiver will get
	connection *relayWindow
}

func newRelayWindow(size int) relayWindow {
	return relayWindow{sender: size, receiver: window{size: size}}
}

// stream returns the window of a new stream of the connection whose window w is.
func (w *relayWindow) stream(sender, receiver int) relayWindow {
	return relayWindow{
		sender:     sender,
		receiver:   window{size: receiver, connection: &w.receiver},
		connection: w,
	}
}

// available returns how many bytes the receiver accepts now.
func (w *relayWindow) available() int { return w.receiver.available() }

// receive notes n bytes from the sender. They are held until pass or absorb.
func (w *relayWindow) receive(n int) {
	for ; w != nil; w = w.connection {
		w.sender -= n
		w.held += n
	}
}

// exceeded reports whether the sender has sent more than it was allowed.
func (w *relayWindow) exceeded() bool { return w.sender < 0 }

// pass notes that the receiver gets n of the bytes that are held.
func (w *relayWindow) pass(n int) {
	w.absorb(n)
	w.inject(n)
}

// absorb notes that the receiver never gets n of the bytes that are held.
func (w *relayWindow) absorb(n int) {
	for ; w != nil; w = w.connection {
		w.held -= n
	}
}

// inject notes n bytes for the receiver that the sender has not sent.
func (w *relayWindow) inject(n int) { w.receiver.take(n) }

// add notes that the receiver accepts n bytes more.
func (w *relayWindow) add(n int) { w.receiver.add(n) }

// checkUpdate is that of the receiver's window.
func (w *relayWindow) checkUpdate(n int) http2.ErrCode { return w.receiver.checkUpdate(n) }

// resizeSender notes that the sender believes in an initial window that is n bytes larger.
func (w *relayWindow) resizeSender(n int) { w.sender += n }

// pendingCredit returns the credit that the sender has not been given yet.
func (w *relayWindow) pendingCredit() int { return max(0, w.receiver.size-w.sender-w.held) }

// takeCredit returns the pending credit, and notes that the sender is given it.
func (w *relayWindow) takeCredit() int {
	n := w.pendingCredit()
	w.sender += n
	return n
}

// creditUrgent reports whether the sender should be given the pending credit now: it is
// much, or as much as the sender has left, which may be too little to go on.
func (w *relayWindow) creditUrgent() bool {
	n := w.pendingCredit()
	return n > 0 && (n >= creditLimit || n >= w.sender)
}

// flow is the flow control of a relay's two connections. It is guarded by Relay.mutex.
type flow struct {
	toClient            relayWindow // of the connection
	toServer            relayWindow // of the connection
	serverInitialWindow int         // of each stream towards the server
}

func newFlow() flow {
	return flow{
		toClient:            newRelayWindow(defaultWindow),
		toServer:            newRelayWindow(defaultWindow),
		serverInitialWindow: defaultWindow,
	}
}

// appendClientCredit appends the credit that is pending for the client's connection.
func (f *flow) appendClientCredit(b []byte) []byte {
	if n := f.toServer.takeCredit(); n > 0 {
		b = appendWindowUpdate(b, 0, n)
	}
	return b
}
