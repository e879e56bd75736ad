// Package cri is a CRI client for the calls that the shim itself makes to the runtime.
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

// Client calls CRI methods in one version of the CRI.
type Client struct {
	Version string // one of Versions
	Invoke  intercept.Invoke
}

// ImageStatus returns the image that the runtime has under a reference or ID, or nil if it
// has none.
func (c Client) ImageStatus(ctx context.Context, image string) (*runtime.Image, error) {
	response, _, err := c.ImageStatusOf(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}})
	return response.GetImage(), err
}

// ImageStatusOf returns the answer to request, decoded and encoded. It turns an error with
// the code NotFound into an answer without an image.
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

// RawImageStatus returns the answer to an encoded request, decoded and encoded. The decoded
// answer is nil if decoding fails. Unlike ImageStatusOf, it returns NotFound as an error.
func (c Client) RawImageStatus(ctx context.Context, request []byte) (*runtime.ImageStatusResponse, []byte, error) {
	raw, err := c.Invoke(ctx, "/"+c.Version+".ImageService/ImageStatus", request)
	if err != nil {
		return nil, nil, err
	}
	response := &runtime.ImageStatusResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return nil, raw, nil // the caller forwards it unchanged
	}
	return response, raw, nil
}

// Call calls a method, for example "RuntimeService/Status".
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

// Detached returns a context for work that continues after a client's call. It has the
// values of ctx, is not cancelled with ctx, and ends after timeout.
func Detached(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}
