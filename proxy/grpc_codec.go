package proxy

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// frame is one gRPC message whose bytes nobody looks at.
type frame struct {
	data mem.BufferSlice
}

func newFrame(message []byte) *frame {
	return &frame{data: mem.BufferSlice{mem.SliceBuffer(message)}}
}

// take returns the message as one slice of the caller's own and releases the buffers.
func (f *frame) take() []byte {
	message := f.data.Materialize()
	f.data.Free()
	f.data = nil
	return message
}

// codec moves frames through grpc-go without copying them.
type codec struct{}

// Marshal hands the frame's buffers over: grpc-go frees them once they are sent.
func (codec) Marshal(message any) (mem.BufferSlice, error) {
	f, ok := message.(*frame)
	if !ok {
		return nil, fmt.Errorf("proxy: cannot send a %T", message)
	}
	data := f.data
	f.data = nil
	return data, nil
}

// Unmarshal keeps a reference to the received buffers.
func (codec) Unmarshal(data mem.BufferSlice, message any) error {
	f, ok := message.(*frame)
	if !ok {
		return fmt.Errorf("proxy: cannot receive into a %T", message)
	}
	data.Ref()
	f.data = data
	return nil
}

// Name is empty so that the content-type stays exactly "application/grpc":
// CRI-O's socket tells gRPC from HTTP/1.1 by that.
func (codec) Name() string { return "" }
