// Package frames relays HTTP/2 (RFC 9113) between a client and a server, frame by frame,
// and lets handlers answer single requests in place of the server.
//
// A [Relay] joins a connection from a client with its own connection to the server:
//
//	relay := frames.NewRelay(client, server, func(fields []hpack.HeaderField) frames.Plan {
//		... // a plan with a handler intercepts the request, one without relays it
//	})
//	err := relay.Run()
//
// The package knows HTTP/2, but not gRPC. Frames that need no inspection are forwarded
// unchanged, several per write. DATA frames are not assembled into messages. The client and
// the server see each other's SETTINGS, PING frames and flow control.
//
// # Intercepted requests
//
// For example, a client opens the streams 1, 3 and 5, and the relay intercepts the request
// on stream 3. A handler answers it, and the server never sees its frames. The server sees
// the streams 1 and 5. HTTP/2 allows such a gap in the stream identifiers (RFC 9113, 5.1.1).
//
// The header block of stream 5 may refer to a field that stream 3 added to the HPACK table,
// because a connection has one dynamic table for each direction (RFC 7541, 2.2). The relay therefore
// decodes every header block from the client and encodes it again for the server. Header
// blocks from the server are forwarded unchanged. The answer to an intercepted request is
// written between two frames from the server. Its header fields are encoded without the
// dynamic table, so the client's HPACK state does not change.
//
// # Restored answers
//
// For example, a client asks for a list of images, and the server's answer contains names
// that the client does not know. The relay sends the request to the server, collects the
// body of the answer, replaces the names and sends the changed body to the client. Then it
// sends the header block that ends the answer. This is a [Restoration].
//
// A plan can ask for it in two ways. With [Plan].Restoration, the decision is made when the
// header fields of the request are complete, and the request is relayed at once. With
// [Plan].Decide, it is made when the body begins: the request is undecided until then. It
// can be relayed only if the whole body has arrived in one DATA frame and the server has not
// seen a later stream. In both cases the request uses the client's own connection, and other
// streams continue in parallel.
//
// [Restoration].Unchanged inspects the first DATA frame of the answer. If it reports that
// the answer needs no change, the answer is forwarded without being collected.
//
// # Forwarding loops
//
// For example, the client's window has room for 100 bytes, and a restored answer has 500.
// The answer is queued, and a goroutine sends it when the client grants more credit.
// Meanwhile the loop that reads the server forwards the next frame.
//
// There are two such loops, clientToServer and serverToClient. Each reads one connection
// and writes to the other. It must not wait for anything else, because that would block all
// streams of the connection. Work that may have to wait has its own goroutine: DATA from the
// server that exceeds the client's window, a [Restorer] that asks the server first, credit
// for the server, and the relay's own frames for the client. A loop waits for these
// goroutines only when a queue has reached its limit.
//
// A queued header block reaches the client later than blocks that the server sent after it.
// From then on, the client's HPACK table differs from the server's. The relay then encodes
// all later header blocks of the connection itself, without the dynamic table.
//
// # Flow control
//
// For example, the client grants 1,000 bytes, and the relay injects 200 bytes of an answer
// that the server does not know. The server still sees a window of 1,000 bytes and the
// client one of 800. The relay keeps the next 200 bytes of credit from the client for
// itself, so that the two agree again. Until then, the server may send more than the client
// accepts. The relay adds such DATA to the queue of its stream.
//
// A [relayWindow] records the window as the sender of a direction sees it, the window as the
// receiver grants it, and the bytes that the relay holds in between. The relay also gives
// the sender credit for DATA that it consumes itself. It sends this credit along with other
// frames, or alone once it is 16 KiB or as much as the sender's remaining
// window.
//
// # Locks
//
// For example, writeQueue sends part of an answer: it locks clientWriter.mutex, so that no
// other frame is written, then Relay.mutex, to take bytes from the windows.
//
// clientWriter.mutex and serverWriter.mutex guard the writes to the two connections.
// [Relay].mutex guards the state of the relay, its streams and exchanges. This includes the
// types flow, clientSettings, serverCredit, controlQueue, pingState and drainState. The
// fields of a loop need no lock, because only its goroutine uses them. clientWriter.mutex is
// locked before Relay.mutex. Relay.mutex is never locked while serverWriter.mutex is held. A
// connection of a [Client] has two locks of the same kinds, writeMutex and mutex.
//
// # Limits
//
// For example, an answer of 200 MiB is to be restored. A relay keeps at most 128 MiB of
// requests and answers, so the answer is forwarded without being restored. An intercepted
// request that exceeds a limit fails.
//
// A relay has one read buffer for each direction. Its size is at most 256 KiB, unless a
// frame that must be read as a whole is larger. Such frames, header blocks, header lists and
// the number of open requests are limited, too. A peer that exceeds one of these limits
// loses the connection or the request.
package frames
