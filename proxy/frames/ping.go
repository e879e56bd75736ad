package frames

import "golang.org/x/net/http2"

// pingState decides which of the client's pings the relay answers. It is guarded by
// Relay.mutex.
//
// A server of grpc-go ends the connection of a client that pings too often: while it sees
// no request, more than twice in two hours, unless it has sent HEADERS or DATA since the
// last ping (keepalive enforcement, internal/transport/http2_server.go). A ping must not
// reach the server where it would have passed only because of a request that the server
// does not see. There are two such pings:
//   - A client pings to keep a connection alive while a request is open. The relay answers
//     while an intercepted request is open and the server sees none.
//   - grpc-go's client pings when it receives DATA, to measure the connection. The relay
//     answers one ping for an injected answer, unless the server has sent HEADERS or DATA since.
//
// All other pings pass, so that they find a server that hangs.
type pingState struct {
	// Since the last ping that passed to the server:
	injected       bool // the relay has sent the client DATA of its own
	serverSentData bool // the server has sent HEADERS or DATA
}

// answerPing answers a ping of the client that must not reach the server. It reports
// whether it did.
func (p *clientToServer) answerPing(f frame) bool {
	if f.flags.Has(http2.FlagPingAck) {
		return false
	}
	p.mutex.Lock()
	measures := p.pings.injected && !p.pings.serverSentData
	here := measures || p.serverClosed || len(p.intercepted) > 0 && !p.serverHasRequests()
	p.pings.injected = false
	if !here {
		p.pings.serverSentData = false
	}
	p.mutex.Unlock()
	if here {
		p.controlFrames = header{length: f.length, kind: http2.FramePing, flags: http2.FlagPingAck}.append(p.controlFrames)
		p.controlFrames = append(p.controlFrames, f.payload()...)
	}
	return here
}

// serverHasRequests reports whether the server has a request that it has not answered.
// The caller holds the mutex.
func (r *Relay) serverHasRequests() bool {
	for _, s := range r.relayed {
		if !s.serverDone {
			return true
		}
	}
	return false
}
