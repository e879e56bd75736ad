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
//     while a taken request is open and the server sees none.
//   - grpc-go's client pings when it receives DATA, to measure the connection. The relay
//     answers one ping for an injected answer, unless the server has sent HEADERS or DATA since.
//
// All other pings pass, so that they find a server that hangs.
type pingState struct {
	// Since the last ping that passed to the server:
	injected       bool // the relay has sent the client DATA of its own
	serverSentData bool // the server has sent HEADERS or DATA
}

// answersPing answers a ping of the client if it is for the relay to answer, and reports
// whether it is.
func (u *up) answersPing(f frame) bool {
	if f.flags.Has(http2.FlagPingAck) {
		return false
	}
	u.mutex.Lock()
	measures := u.pings.injected && !u.pings.serverSentData
	here := measures || u.serverClosed || len(u.taken) > 0 && !u.serverHasRequests()
	u.pings.injected = false
	if !here {
		u.pings.serverSentData = false
	}
	u.mutex.Unlock()
	if here {
		u.answers = header{length: f.length, kind: http2.FramePing, flags: http2.FlagPingAck}.append(u.answers)
		u.answers = append(u.answers, f.payload()...)
	}
	return here
}

// serverHasRequests reports whether the server has a request that it has not answered.
// The caller holds the mutex.
func (r *Relay) serverHasRequests() bool {
	for _, s := range r.open {
		if !s.serverDone {
			return true
		}
	}
	return false
}
