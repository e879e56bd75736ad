package proxy

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"image-cri-shim/unixsocket"
)

// watchedStream is a client's stream whose messages are shown.
type watchedStream struct {
	grpc.ServerStream
	observed *observed
	ctx      context.Context
}

// Context implements [grpc.ServerStream].
func (w watchedStream) Context() context.Context { return w.ctx }

// RecvMsg implements [grpc.ServerStream].
func (w watchedStream) RecvMsg(message any) error {
	err := w.ServerStream.RecvMsg(message)
	if received, ok := message.(*frame); ok && err == nil {
		w.show(FromClient, received)
	}
	return err
}

// SendMsg implements [grpc.ServerStream]. The message is shown before it is sent, which
// takes it away.
func (w watchedStream) SendMsg(message any) error {
	if sent, ok := message.(*frame); ok {
		w.show(FromRuntime, sent)
	}
	return w.ServerStream.SendMsg(message)
}

func (w watchedStream) show(from Side, message *frame) {
	if w.observed.tap == nil {
		w.observed.bytes[from].Add(prefixLength + int64(message.data.Len()))
		return
	}
	w.observed.message(from, message.data.Materialize())
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
