package rewrite

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/printable"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// createContainer replaces image names in the request by image IDs, if the runtime has the
// images under other references. crictl and critest send names. kubelet sends IDs, and its
// requests stay unchanged.
//
// If a name was replaced, the runtime shows the ID in its answers, so the ledger records the
// name. The ledger also records the name that the user specified if the image has several
// names with one stored reference, because CRI-O does not show it.
//
// The name of a mounted image is replaced even if the runtime has the image under it, because
// containerd accepts only canonical names there.
func (c call) createContainer(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.CreateContainerRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return c.forward(ctx, encoded)
	}
	if c.namesInRuntime() {
		return c.createNamed(ctx, request, encoded)
	}
	asked := request.GetConfig().GetImage().GetImage()
	changed, err := c.replaceByID(ctx, request.GetConfig().GetImage(), false)
	if err != nil {
		return nil, err
	}
	renamed := changed
	for _, mount := range request.GetConfig().GetMounts() {
		replaced, err := c.replaceByID(ctx, mount.GetImage(), true)
		if err != nil {
			return nil, err
		}
		changed = changed || replaced
	}
	if changed {
		if encoded, err = proto.Marshal(request); err != nil {
			return nil, err
		}
	}
	done, err := c.namer.Use(ctx, idsOf(request)...)
	if err != nil {
		return nil, err
	}
	raw, err := c.forward(ctx, encoded)
	done()
	if image := request.GetConfig().GetImage(); err == nil && (renamed || c.ledger.IsShared(image.GetImage())) {
		c.recordCreated(raw, ledger.Container{Asked: asked, Sent: image.GetImage(), Specified: image.GetUserSpecifiedImage()})
	}
	return raw, err
}

// imagesOf returns the image of a container and those of its mounts. Some may be nil.
func imagesOf(request *runtime.CreateContainerRequest) []*runtime.ImageSpec {
	specs := []*runtime.ImageSpec{request.GetConfig().GetImage()}
	for _, mount := range request.GetConfig().GetMounts() {
		specs = append(specs, mount.GetImage())
	}
	return specs
}

// replaceByID replaces the name in spec by the ID of the image, if the image is on the node. It
// replaces a name that the runtime itself knows only if ownToo is set. It returns NotFound for
// a hidden name, and the runtime's error if the runtime fails to answer.
func (c call) replaceByID(ctx context.Context, spec *runtime.ImageSpec, ownToo bool) (bool, error) {
	asked := spec.GetImage()
	name, err := imagename.Parse(asked)
	if err != nil {
		return false, nil
	}
	found, err := c.resolveName(ctx, asked, name, true)
	switch {
	case status.Code(err) == codes.NotFound:
		return false, nil
	case err != nil:
		return false, err
	case found.hidden:
		return false, status.Errorf(codes.NotFound, "image-cri-shim: image %q: not found", printable.Line(asked, lineLimit))
	case found.image().GetId() == "", found.own && !ownToo:
		return false, nil
	}
	spec.Image = found.image().Id
	return true, nil
}

// recordCreated records a container in the ledger. raw is the answer to CreateContainer.
func (c call) recordCreated(raw []byte, made ledger.Container) {
	response := &runtime.CreateContainerResponse{}
	if proto.Unmarshal(raw, response) != nil || response.ContainerId == "" {
		return
	}
	made.ID = response.ContainerId
	if err := c.ledger.RecordContainer(made); err != nil {
		c.warn(fmt.Errorf("could not record the image of a container: %w", err))
	}
}
