package rewrite

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
)

// images is the runtime's local image store, as one call sees it.
type images struct {
	version string // of the CRI that the client speaks
	invoke  intercept.Invoke
}

// status returns the image that the runtime has under a reference or ID, nil if
// there is none.
func (i images) status(ctx context.Context, image string) (*runtime.Image, error) {
	response, _, err := i.statusOf(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}})
	return response.GetImage(), err
}

// statusOf returns the answer to request, decoded and as it came. The code
// NotFound is an answer, too: there is no such image.
func (i images) statusOf(ctx context.Context, request *runtime.ImageStatusRequest) (*runtime.ImageStatusResponse, []byte, error) {
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, nil, err
	}
	response, raw, err := i.rawStatus(ctx, encoded)
	if status.Code(err) == codes.NotFound {
		return &runtime.ImageStatusResponse{}, nil, nil
	}
	return response, raw, err
}

// rawStatus returns the answer to an encoded request. Its errors are the
// runtime's, NotFound included.
func (i images) rawStatus(ctx context.Context, request []byte) (*runtime.ImageStatusResponse, []byte, error) {
	raw, err := i.invoke(ctx, "/"+i.version+".ImageService/ImageStatus", request)
	if err != nil {
		return nil, nil, err
	}
	response := &runtime.ImageStatusResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return nil, raw, nil // not for us to judge: it is forwarded as it is
	}
	return response, raw, nil
}
