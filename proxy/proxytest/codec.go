package proxytest

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// Codec sends and receives messages of the type *[]byte unchanged. Its value is
// the content-subtype that a client announces: Codec("proto") sends
// "application/grpc+proto", Codec("") sends "application/grpc".
type Codec string

// Marshal sends the bytes, which must not change until they are sent.
func (Codec) Marshal(message any) (mem.BufferSlice, error) {
	data, ok := message.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("proxytest: cannot send a %T", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(*data)}, nil
}

// Unmarshal copies the bytes.
func (Codec) Unmarshal(data mem.BufferSlice, message any) error {
	target, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("proxytest: cannot receive into a %T", message)
	}
	*target = data.Materialize()
	return nil
}

// Name returns the content-subtype.
func (c Codec) Name() string { return string(c) }

// Messages is either end of a stream: a grpc.ServerStream or grpc.ClientStream.
type Messages interface {
	SendMsg(message any) error
	RecvMsg(message any) error
}

// Send sends one message.
func Send(stream Messages, message []byte) error { return stream.SendMsg(&message) }

// Receive returns the next message, or io.EOF after the last one.
func Receive(stream Messages) ([]byte, error) {
	var message []byte
	err := stream.RecvMsg(&message)
	return message, err
}
