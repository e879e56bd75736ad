// Package frames relays HTTP/2 (RFC 9113) between a client and a server, frame by
// frame, and takes single requests out of the stream of frames to answer them
// itself.
//
// It knows HTTP/2 and nothing of gRPC. A [Relay] joins one connection of a client
// with one connection to the server of its own. What it does not have to look at
// it moves in runs of whole frames, as they came: no message is ever put
// together, and settings, pings, flow control and whatever else two ends say to
// each other they say to each other themselves.
//
//	relay := frames.NewRelay(client, server, func(fields []hpack.HeaderField) frames.Plan {
//		... // a handler takes the request, without one it is relayed
//	})
//	err := relay.Run()
//
// # How a request is taken out
//
// The server never sees the frames of a request that is taken: it sees a gap in
// the stream identifiers, which HTTP/2 allows (RFC 9113, 5.1.1). For its HPACK
// state to stay right every request's header block is decoded and encoded anew
// (RFC 7541 keeps one state for a whole connection); header blocks from the
// server go to the client as they are. The answer to a taken request is put
// between two frames of the server's, in header fields that leave the client's
// HPACK state alone.
//
// # How an answer is restored
//
// A taken request whose answer is the server's but for a change of its body is passed on
// after all, if the server has not seen a later one. It then uses the client's own
// connection, on which everything else goes on in parallel. The answer's body is collected
// until it is complete, changed, and sent before the header block that ends it.
//
// A request may also pass as it comes, and the answer be restored only where its first DATA
// frame does not show that it would stay as it is.
//
// # Nothing waits in a pump
//
// A pump reads one connection and writes the other, and waits for nothing else. For
// example, the client has 100 bytes left in a window, and a restored answer has 500. The
// answer is queued, a goroutine sends it as the client makes room, and the pump goes on with
// the server's next frame. The same holds for DATA of the server that does not fit into the
// client's window, for restoring that has to ask the server something, for credit, and for
// frames that the relay itself sends to the client.
//
// A header block that is queued reaches the client later than the server meant it to, and
// the client's HPACK table no longer follows the server's. From then on the relay encodes
// the header blocks of the connection itself, without the table.
//
// # Flow control
//
// A [window] knows what the sender of a direction believes, what the receiver accepts, and
// what the relay holds in between. Bytes that the relay takes for itself are credited to
// their sender at once, or when they become much of what the sender has left. Bytes that it
// injects were never the sender's, so that as many bytes of the receiver's next updates
// are kept from the sender. In the meantime the server may send more than the client
// accepts: that is what the queue of a stream is for.
//
// # Bounds
//
// A relay holds one read buffer for each direction, of 256 KiB at most but for a larger
// single frame that is not DATA. What it keeps of requests and answers is 128 MiB at most.
// An answer that would exceed that passes without being restored, a request fails. Header
// blocks, header lists, frames that must be looked at as a whole and requests that are open
// are bounded, too: a peer that exceeds such a bound loses the connection or the request.
package frames
