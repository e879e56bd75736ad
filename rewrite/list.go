package rewrite

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// listImages resolves the name in the filter and restores the names in the answer.
func (c call) listImages(ctx context.Context, encoded []byte) ([]byte, error) {
	request, err := c.resolveFilter(ctx, encoded)
	if err != nil {
		return nil, err
	}
	response, err := c.forward(ctx, request)
	if err != nil {
		return nil, err
	}
	return c.restoreList(response)
}

// streamImages does so for each message of an answer.
func (c call) streamImages(ctx context.Context, encoded []byte) (forward []byte, transform func([]byte) ([]byte, error), err error) {
	forward, err = c.resolveFilter(ctx, encoded)
	return forward, c.restoreList, err
}

// resolveFilter makes the filter of ListImages or StreamImages, which look the
// same on the wire, name what the runtime has. (CRI-O answers it like
// ImageStatus, containerd ignores it.) If the runtime fails to answer for the name,
// that is the answer, as in ImageStatus.
func (c call) resolveFilter(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.ListImagesRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return encoded, nil
	}
	asked := request.GetFilter().GetImage().GetImage()
	name, err := Parse(asked)
	if err != nil {
		return encoded, nil
	}
	found, err := c.resolveName(ctx, asked, name, false)
	switch {
	case status.Code(err) == codes.NotFound:
		return encoded, nil
	case err != nil:
		return nil, err
	case found.hidden:
		request.Filter.Image.Image = noImage
	case found.own:
		return encoded, nil
	default:
		request.Filter.Image.Image = found.image().Id
	}
	return proto.Marshal(request)
}

// noImage is an ID that no image has.
const noImage = "0000000000000000000000000000000000000000000000000000000000000000"
