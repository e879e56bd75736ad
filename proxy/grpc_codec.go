package proxy

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// rawMessage is one gRPC message as bytes, in the buffers in which it was received.
type rawMessage struct {
	data mem.BufferSlice
}

func newRawMessage(message []byte) *rawMessage {
	return &rawMessage{data: mem.BufferSlice{mem.SliceBuffer(message)}}
}

// consume returns the message as one slice that the caller owns, and releases the buffers.
func (m *rawMessage) consume() []byte {
	message := m.data.Materialize()
	m.data.Free()
	m.data = nil
	return message
}

// codec moves messages through grpc-go without copying them.
type codec struct{}

// Marshal hands the message's buffers to grpc-go, which frees them after sending.
func (codec) Marshal(message any) (mem.BufferSlice, error) {
	f, ok := message.(*rawMessage)
	if !ok {
		return nil, fmt.Errorf("proxy: cannot send a %T", message)
	}
	data := f.data
	f.data = nil
	return data, nil
}

// Unmarshal keeps a reference to the received buffers.
func (codec) Unmarshal(data mem.BufferSlice, message any) error {
	f, ok := message.(*rawMessage)
	if !ok {
		return fmt.Errorf("proxy: cannot receive into a %T", message)
	}
	data.Ref()
	f.data = data
	return nil
}

// Name is empty so that the content-type stays exactly "application/grpc", by which CRI-O's
// socket distinguishes gRPC from HTTP/1.1.
func (codec) Name() string { return "" }
