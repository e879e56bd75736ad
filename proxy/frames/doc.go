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
// after all, if the server has not seen a later one: on the client's own connection, where
// everything else goes on in parallel. The answer's body is kept until it is complete,
// changed, and sent before the header block that ends it. What the server says meanwhile
// waits only where the client's windows are too small for the changed body.
//
// # Flow control
//
// The client's view of the server's windows stays exact: the bytes of a taken
// request are credited back at once. The server's view of the client's
// connection window would be too large by the bytes of the answers that were put
// in, so that as many bytes of the client's next window updates are kept from it;
// until then, what the server sends beyond the client's window waits in the relay.
// Windows of taken streams are the relay's own.
//
// # Bounds
//
// A relay holds one read buffer for each direction, of 256 KiB at most but for a
// larger single frame that is not DATA. Header blocks, header lists, frames that must be
// looked at as a whole, requests that are taken and the bytes of their bodies are
// bounded; whoever exceeds a bound loses that connection or that request.
package frames
