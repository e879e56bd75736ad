// Package frames relays HTTP/2 (RFC 9113) between a client and a server, frame by
// frame, and intercepts single requests to answer them itself.
//
// It knows HTTP/2 and nothing of gRPC. A [Relay] joins one connection of a client
// with its own connection to the server. Frames that it does not have to inspect are
// forwarded unchanged, in runs of whole frames. No message is ever assembled, and the
// settings, pings and flow control of the two ends pass between them.
//
//	relay := frames.NewRelay(client, server, func(fields []hpack.HeaderField) frames.Plan {
//		... // a plan with a handler intercepts the request, one without relays it
//	})
//	err := relay.Run()
//
// # How a request is intercepted
//
// The server never sees the frames of an intercepted request. It sees a gap in the stream
// identifiers, which HTTP/2 allows (RFC 9113, 5.1.1). HPACK keeps one state for a whole
// connection (RFC 7541), so every request's header block is decoded and encoded again for
// the server. Header blocks from the server are forwarded unchanged. The answer to an
// intercepted request is written between two frames of the server, in header fields that
// do not change the client's HPACK state.
//
// # How an answer is restored
//
// Some answers are the server's with a changed body. Such a request is relayed after all,
// if the server has not seen a later one. It then uses the client's own connection, and
// other streams go on in parallel. The body of the answer is collected until it is
// complete, changed, and sent before the header block that ends it.
//
// A request may also be relayed as it comes, and the answer restored only if its first DATA
// frame does not show that it would stay as it is.
//
// # Nothing waits in a pump
//
// The two pumps, clientToServer and serverToClient, each read one connection and write the
// other, and wait for nothing else. For example, the client has 100 bytes left in a window,
// and a restored answer has 500. The answer is queued, a goroutine sends it as the client
// makes room, and the pump goes on with the server's next frame. The same holds for DATA of
// the server that does not fit into the client's window, for a restorer that asks the
// server first, for credit, and for frames that the relay itself sends to the client.
//
// A queued header block reaches the client later than the server sent it. The client's HPACK
// table then no longer follows the server's, and the relay encodes all later header blocks
// of the connection itself, without the table.
//
// # Flow control
//
// A [relayWindow] records the window that the sender of a direction sees, the window that
// the receiver grants, and the bytes that the relay holds in between. Bytes that the relay
// keeps for itself are credited to their sender, at the latest when they become much of the
// sender's window. Bytes that the relay injects were never the sender's. As many bytes of
// the receiver's next updates are hidden from the sender. Until then, the server may send
// more than the client accepts. Such DATA goes to the queue of its stream.
//
// # Locks
//
// [Relay].mutex guards the state of the relay, its streams and exchanges. The types of that
// state say so: flow, clientSettings, serverCredit, controlQueue, pingState and drainState.
// A pump's own fields need no lock. clientWriter.mutex and serverWriter.mutex guard the
// writes to the two connections. clientWriter.mutex is locked before Relay.mutex, and
// Relay.mutex is never locked while serverWriter.mutex is held. A connection of a [Client]
// has the same two kinds of lock, writeMutex and mutex.
//
// # Bounds
//
// A relay has one read buffer for each direction, of at most 256 KiB unless a single frame
// that is not DATA is larger. It keeps at most 128 MiB of requests and answers. An answer
// that would exceed that is forwarded without being restored, and a request fails. Header
// blocks, header lists, frames that must be read as a whole and the number of open requests
// are bounded, too. A peer that exceeds such a bound loses the connection or the request.
package frames
