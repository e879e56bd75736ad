package proxy

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"image-cri-shim/unixsocket"
)

// observedStream is a client's stream that records its messages.
type observedStream struct {
	grpc.ServerStream
	observed *observedCall
	ctx      context.Context
}

// Context implements [grpc.ServerStream].
func (s observedStream) Context() context.Context { return s.ctx }

// RecvMsg implements [grpc.ServerStream].
func (s observedStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if received, ok := message.(*rawMessage); ok && err == nil {
		s.record(FromClient, received)
	}
	return err
}

// SendMsg implements [grpc.ServerStream]. It records the message first, since sending
// consumes it.
func (s observedStream) SendMsg(message any) error {
	if sent, ok := message.(*rawMessage); ok {
		s.record(FromRuntime, sent)
	}
	return s.ServerStream.SendMsg(message)
}

func (s observedStream) record(from Side, message *rawMessage) {
	if s.observed.tap == nil {
		s.observed.bytes[from].Add(prefixLength + int64(message.data.Len()))
		return
	}
	s.observed.addMessage(from, message.data.Materialize())
}

// peerInfo identifies the client of a connection to the handlers of its calls.
type peerInfo struct {
	credentials.AuthInfo
	client unixsocket.Peer
}

// clientOf returns the client of a call.
func clientOf(ctx context.Context) unixsocket.Peer {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(peerInfo); ok {
			return info.client
		}
	}
	return unixsocket.UnknownPeer
}
