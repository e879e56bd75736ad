// Package cri is a client of the runtime's CRI, for the calls that the shim makes itself.
//
//	client := cri.Client{Version: cri.Versions[0], Invoke: invoke}
//	image, err := client.ImageStatus(ctx, "docker.io/library/nginx:1.25")
package cri

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
)

// Client calls methods of the CRI in one version of it.
type Client struct {
	Version string // of the CRI, one of Versions
	Invoke  intercept.Invoke
}

// ImageStatus returns the image that the runtime has under a reference or ID, nil if there
// is none.
func (c Client) ImageStatus(ctx context.Context, image string) (*runtime.Image, error) {
	response, _, err := c.ImageStatusOf(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}})
	return response.GetImage(), err
}

// ImageStatusOf returns the answer to request, decoded and as it came. The answer to an
// error with the code NotFound is one without an image.
func (c Client) ImageStatusOf(ctx context.Context, request *runtime.ImageStatusRequest) (*runtime.ImageStatusResponse, []byte, error) {
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, nil, err
	}
	response, raw, err := c.RawImageStatus(ctx, encoded)
	if status.Code(err) == codes.NotFound {
		return &runtime.ImageStatusResponse{}, nil, nil
	}
	return response, raw, err
}

// RawImageStatus returns the answer to an encoded request, decoded and as it came. The
// decoded one is nil if the answer can't be decoded. NotFound is an error here.
func (c Client) RawImageStatus(ctx context.Context, request []byte) (*runtime.ImageStatusResponse, []byte, error) {
	raw, err := c.Invoke(ctx, "/"+c.Version+".ImageService/ImageStatus", request)
	if err != nil {
		return nil, nil, err
	}
	response := &runtime.ImageStatusResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return nil, raw, nil // it is forwarded as it is
	}
	return response, raw, nil
}

// Call calls a method: "RuntimeService/Status" and such.
func (c Client) Call(ctx context.Context, method string, request, response proto.Message) error {
	encoded, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	encoded, err = c.Invoke(ctx, "/"+c.Version+"."+method, encoded)
	if err != nil {
		return err
	}
	return proto.Unmarshal(encoded, response)
}

// Detached returns a context for work that follows a client's call. It has the values of
// ctx, is not cancelled with it, and ends after a timeout.
func Detached(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}
