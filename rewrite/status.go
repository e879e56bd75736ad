package rewrite

import (
	"context"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// imageStatus finds the image of a name in the runtime, under whatever reference it has it, and
// restores the names in the answer. It asks no registry.
func (c call) imageStatus(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.ImageStatusRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return c.forward(ctx, encoded)
	}
	name, err := imagename.Parse(request.GetImage().GetImage())
	if err != nil {
		response, raw, err := c.runtime.RawImageStatus(ctx, encoded)
		if err != nil {
			return nil, err
		}
		return c.restoreStatus(response, raw)
	}
	found, err := c.resolve(ctx, request, encoded, name, false)
	if err != nil {
		return nil, err
	}
	return c.restoreStatus(found.response, found.raw)
}
