package frames

import "golang.org/x/net/http2"

// pings are what decides about the client's pings, guarded by the relay's mutex.
//
// A server of grpc-go ends the connection of a client that pings without having been
// sent anything (keepalive enforcement, internal/transport/http2_server.go). Its
// client pings when it receives DATA, to measure the connection. DATA that the
// server has not sent must therefore not lead to a ping that it sees.
type pings struct {
	// Since the last ping that the server was passed,
	injected bool // the client was sent an answer that is not the server's
	spoke    bool // the server has sent HEADERS or DATA
}

// answersPing tells whether a ping is answered here, and does so.
func (u *up) answersPing(f frame) bool {
	if f.flags.Has(http2.FlagPingAck) {
		return false
	}
	u.mutex.Lock()
	here := u.injected && !u.spoke || u.serverGone
	if !here {
		u.injected, u.spoke = false, false
	}
	u.mutex.Unlock()
	if here {
		u.answers = header{length: f.length, kind: http2.FramePing, flags: http2.FlagPingAck}.append(u.answers)
		u.answers = append(u.answers, f.payload()...)
	}
	return here
}
