package frames

import "golang.org/x/net/http2"

// window is a flow-control window (RFC 9113, 5.2): the number of bytes of DATA that the
// receiver still accepts. DATA of a stream also counts in the window of the connection.
type window struct {
	size       int     // negative after the receiver has reduced it
	connection *window // nil for the window of a connection
}

// available returns the number of bytes that can be sent now. It may be negative.
func (w *window) available() int {
	if w.connection == nil {
		return w.size
	}
	return min(w.size, w.connection.size)
}

// take removes n bytes that are sent from the window.
func (w *window) take(n int) {
	w.size -= n
	if w.connection != nil {
		w.connection.size -= n
	}
}

// add adds n bytes for a WINDOW_UPDATE or a change of the initial window. n may be negative.
func (w *window) add(n int) { w.size += n }

// checkUpdate returns the error code of a WINDOW_UPDATE of n bytes (RFC 9113, 6.9 and 6.9.1),
// or http2.ErrCodeNo if it is valid.
func (w *window) checkUpdate(n int) http2.ErrCode {
	switch {
	case n == 0:
		return http2.ErrCodeProtocol
	case w.size+n > windowLimit:
		return http2.ErrCodeFlowControl
	}
	return http2.ErrCodeNo
}

// inflow counts received bytes of DATA until the sender gets credit for them.
type inflow struct {
	uncredited int
	limit      int // number of uncredited bytes at which credit is due
}

// receive adds n bytes of DATA.
func (f *inflow) receive(n int) { f.uncredited += n }

// due reports whether the sender should get credit.
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

// creditLimit is the number of bytes of pending credit that is urgent. Less credit waits to be
// sent along with other frames.
const creditLimit = 16 << 10

// relayWindow is a flow-control window between a sender and a receiver on both sides of the
// relay. It has the sender's view, the receiver's view, and the bytes that the relay holds in
// between.
//
// For example, a client grants a server 1,000 bytes:
//
//	                                          sender  receiver  held
//	                                           1,000     1,000     0
//	The server sends 300, which are passed:      700       700     0
//	The relay injects 200 of its own:            700       500     0
//	The server sends 400, which are absorbed:    300       500     0
//
// Absorbed bytes never reach the client. 200 bytes of credit are now pending for the server.
// They are not 400, because the relay has used 200 for the injected bytes.
//
// The four values of a window are related by
// sender + held + pending credit - injected = receiver,
// where injected is the number of injected bytes that are not yet offset by credit that the
// relay kept.
type relayWindow struct {
	sender     int          // bytes that the sender may still send
	receiver   window       // bytes that the receiver still accepts
	held       int          // bytes from the sender that are neither passed nor absorbed
	connection *relayWindow // nil for the window of a connection
}

func newRelayWindow(size int) relayWindow {
	return relayWindow{sender: size, receiver: window{size: size}}
}

// stream returns the window of a new stream. w is the window of its connection.
func (w *relayWindow) stream(sender, receiver int) relayWindow {
	return relayWindow{
		sender:     sender,
		receiver:   window{size: receiver, connection: &w.receiver},
		connection: w,
	}
}

// available returns the number of bytes that the receiver accepts now. It may be negative.
func (w *relayWindow) available() int { return w.receiver.available() }

// receive records n bytes from the sender. They are held until pass or absorb is called.
func (w *relayWindow) receive(n int) {
	for ; w != nil; w = w.connection {
		w.sender -= n
		w.held += n
	}
}

// exceeded reports whether the sender has sent more than the window allows.
func (w *relayWindow) exceeded() bool { return w.sender < 0 }

// pass records that n held bytes are sent to the receiver.
func (w *relayWindow) pass(n int) {
	w.absorb(n)
	w.inject(n)
}

// absorb records that n held bytes are never sent to the receiver.
func (w *relayWindow) absorb(n int) {
	for ; w != nil; w = w.connection {
		w.held -= n
	}
}

// inject records n bytes sent to the receiver that do not come from the sender.
func (w *relayWindow) inject(n int) { w.receiver.take(n) }

// add records that the receiver accepts n more bytes.
func (w *relayWindow) add(n int) { w.receiver.add(n) }

// checkUpdate is like window.checkUpdate, for the receiver's window.
func (w *relayWindow) checkUpdate(n int) http2.ErrCode { return w.receiver.checkUpdate(n) }

// resizeSender records that the initial window in the sender's view grows by n bytes. n may be
// negative.
func (w *relayWindow) resizeSender(n int) { w.sender += n }

// pendingCredit returns the credit that can be given to the sender.
func (w *relayWindow) pendingCredit() int { return max(0, w.receiver.size-w.sender-w.held) }

// takeCredit returns the pending credit, and records that the sender gets it.
func (w *relayWindow) takeCredit() int {
	n := w.pendingCredit()
	w.sender += n
	return n
}

// creditUrgent reports whether the sender should get the pending credit now. It should if the
// credit has reached creditLimit, or if it is at least as large as the rest of the sender's
// window, which may be too small for the next frame.
func (w *relayWindow) creditUrgent() bool {
	n := w.pendingCredit()
	return n > 0 && (n >= creditLimit || n >= w.sender)
}

// flow is the flow control of a relay's two connections. It is guarded by Relay.mutex.
type flow struct {
	toClient            relayWindow // window of the connection for DATA to the client
	toServer            relayWindow // window of the connection for DATA to the server
	serverInitialWindow int         // initial window of each stream for DATA to the server
}

func newFlow() flow {
	return flow{
		toClient:            newRelayWindow(defaultWindow),
		toServer:            newRelayWindow(defaultWindow),
		serverInitialWindow: defaultWindow,
	}
}

// appendClientCredit appends WINDOW_UPDATE for the pending credit of the client's connection.
func (f *flow) appendClientCredit(b []byte) []byte {
	if n := f.toServer.takeCredit(); n > 0 {
		b = appendWindowUpdate(b, 0, n)
	}
	return b
}
