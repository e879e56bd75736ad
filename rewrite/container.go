package rewrite

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// createContainer replaces the names in the request by image IDs. kubelet sends
// IDs, and such a request stays as it is; crictl and critest send names, which
// the runtime may have under another reference.
func (c call) createContainer(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.CreateContainerRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return c.forward(ctx, encoded)
	}
	specs := []*runtime.ImageSpec{request.GetConfig().GetImage()}
	for _, mount := range request.GetConfig().GetMounts() {
		specs = append(specs, mount.GetImage())
	}
	changed := false
	for _, spec := range specs {
		replaced, err := c.replaceByID(ctx, spec)
		if err != nil {
			return nil, err
		}
		changed = changed || replaced
	}
	if changed {
		var err error
		if encoded, err = proto.Marshal(request); err != nil {
			return nil, err
		}
	}
	return c.forward(ctx, encoded)
}

// replaceByID makes spec name the image by its ID, where it is on the node.
func (c call) replaceByID(ctx context.Context, spec *runtime.ImageSpec) (bool, error) {
	asked := spec.GetImage()
	name, err := Parse(asked)
	if err != nil {
		return false, nil
	}
	start := time.Now()
	found, err := c.resolveName(ctx, asked, name)
	c.decideResolution("CreateContainer", asked, found, time.Since(start), err)
	if err != nil && ends(err) {
		return false, err
	}
	if found.image().GetId() == "" {
		return false, nil
	}
	spec.Image = found.image().Id
	return true, nil
}

// containerStatus restores the names in the answer, so that a pod's status
// shows what its manifest says. The image's ID stays.
func (c call) containerStatus(ctx context.Context, encoded []byte) ([]byte, error) {
	raw, err := c.forward(ctx, encoded)
	if err != nil || !c.ledger.Mentioned(raw) {
		return raw, err
	}
	response := &runtime.ContainerStatusResponse{}
	if proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	if !c.ledger.restoreContainer(response.GetStatus()) {
		return raw, nil
	}
	return proto.Marshal(response)
}
