package frames

import "golang.org/x/net/http2"

// pingState records which PING frames from the client the relay answers instead of the
// server. It is guarded by Relay.mutex.
//
// For example, a client sends a PING every minute while its only request is open. The relay
// intercepts this request, so the server sees a client that sends PING frames without having
// a request. A grpc-go server allows two such frames in two hours and closes the connection
// at the next one. It does not count a PING if it has sent HEADERS or DATA since the last one
// (keepalive enforcement, internal/transport/http2_server.go). The relay therefore answers
// two kinds of PING itself:
//   - PING frames that keep the connection alive. The relay answers them while an intercepted
//     request is open and the server has no open request.
//   - PING frames with which grpc-go's client measures the connection when it receives DATA.
//     The relay answers one of them after it has written queued DATA, unless the server has
//     sent HEADERS or DATA since the last PING that was forwarded. Queued DATA is the relay's
//     own, or the server has sent it earlier: for example, a client reads the last MiB of a
//     large answer, and sends a PING for each part, while the server has nothing left to send.
//
// All other PING frames are forwarded, so that the client notices a server that hangs. After
// the server has closed its connection, the relay answers all of them.
type pingState struct {
	wroteQueue     bool // the relay has written queued DATA since the client's last PING
	serverSentData bool // the server has sent HEADERS or DATA since the last PING that was forwarded
}

// answerPing answers a PING from the client if it must not reach the server. It reports
// whether it answered.
func (p *clientToServer) answerPing(f frame) bool {
	if f.flags.Has(http2.FlagPingAck) {
		return false
	}
	p.mutex.Lock()
	measures := p.pings.wroteQueue && !p.pings.serverSentData
	here := measures || p.serverClosed || len(p.intercepted) > 0 && !p.serverHasRequests()
	p.pings.wroteQueue = false
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

// serverHasRequests reports whether the server has an open request. The caller holds the
// mutex.
func (r *Relay) serverHasRequests() bool {
	for _, s := range r.relayed {
		if !s.serverDone {
			return true
		}
	}
	return false
}
