package rewrite

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageStatus answers from the runtime alone, whatever reference it has the
// image under, with the names that users gave it.
func (c call) imageStatus(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.ImageStatusRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return c.forward(ctx, encoded)
	}
	name, err := Parse(request.GetImage().GetImage())
	if err != nil {
		response, raw, err := c.runtime.rawStatus(ctx, encoded)
		if err != nil {
			return nil, err
		}
		return c.restoreStatus(response, raw)
	}
	start := time.Now()
	found, err := c.resolve(ctx, request, encoded, name)
	c.decideResolution("ImageStatus", request.Image.Image, found, time.Since(start), err)
	if err != nil {
		return nil, err
	}
	return c.restoreStatus(found.response, found.raw)
}

// decideResolution tells what a name was resolved to on this node.
func (c call) decideResolution(method, asked string, found resolution, duration time.Duration, err error) {
	decision := Decision{Method: method, Asked: oneLine(asked), Registry: found.registry, Reason: found.reason, Duration: duration, Err: err}
	if found.image() != nil {
		decision.Served = found.reference
	}
	c.decided(decision)
}
