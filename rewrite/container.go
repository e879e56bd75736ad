package rewrite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	if c.namesInRuntime() {
		return c.createNamed(ctx, request, encoded)
	}
	changed := false
	for _, spec := range imagesOf(request) {
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
	done, err := c.namer.use(ctx, idsOf(request)...)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.forward(ctx, encoded)
}

// imagesOf are the images that a container is made of; some may be nil.
func imagesOf(request *runtime.CreateContainerRequest) []*runtime.ImageSpec {
	specs := []*runtime.ImageSpec{request.GetConfig().GetImage()}
	for _, mount := range request.GetConfig().GetMounts() {
		specs = append(specs, mount.GetImage())
	}
	return specs
}

// replaceByID makes spec name the image by its ID if it is on the node. If the
// runtime fails to say whether it is, its error is returned.
func (c call) replaceByID(ctx context.Context, spec *runtime.ImageSpec) (bool, error) {
	asked := spec.GetImage()
	name, err := Parse(asked)
	if err != nil {
		return false, nil
	}
	found, err := c.resolveName(ctx, asked, name, true)
	switch {
	case status.Code(err) == codes.NotFound:
		return false, nil
	case err != nil:
		return false, err
	case found.image().GetId() == "":
		return false, nil
	}
	spec.Image = found.image().Id
	return true, nil
}

// containerStatus restores the names in the answer, so that a pod's status
// shows what its manifest says. The image's ID stays.
func (c call) containerStatus(ctx context.Context, encoded []byte) ([]byte, error) {
	raw, err := c.forward(ctx, encoded)
	if err != nil {
		return nil, err
	}
	return c.restoreContainerStatus(ctx, raw)
}

func (c call) restoreContainerStatus(ctx context.Context, raw []byte) ([]byte, error) {
	response := &runtime.ContainerStatusResponse{}
	return c.restoreContainers(ctx, raw, response, func() []*runtime.ContainerStatus {
		return []*runtime.ContainerStatus{response.Status}
	})
}

// podSandboxStatus restores the names in the statuses of the sandbox's containers, which
// CRI-O sends along, and kubelet reads, where EventedPLEG is on.
func (c call) podSandboxStatus(ctx context.Context, encoded []byte) ([]byte, error) {
	raw, err := c.forward(ctx, encoded)
	if err != nil {
		return nil, err
	}
	return c.restorePodSandboxStatus(ctx, raw)
}

func (c call) restorePodSandboxStatus(ctx context.Context, raw []byte) ([]byte, error) {
	response := &runtime.PodSandboxStatusResponse{}
	return c.restoreContainers(ctx, raw, response, response.GetContainersStatuses)
}

// containerEvents restores the names in each event: kubelet takes a pod's status from
// them as from ContainerStatus (pleg/evented.go).
func (c call) containerEvents(ctx context.Context, encoded []byte) (forward []byte, transform func([]byte) ([]byte, error), err error) {
	return encoded, func(raw []byte) ([]byte, error) {
		event := &runtime.ContainerEventResponse{}
		return c.restoreContainers(ctx, raw, event, event.GetContainersStatuses)
	}, nil
}

// restoreTimeout bounds what the restoring of one message may ask the runtime: other
// messages wait for it.
const restoreTimeout = 5 * time.Second

// restoreContainers restores the names in a message with statuses of containers, which
// it is decoded into only if it has a name to be restored.
func (c call) restoreContainers(ctx context.Context, raw []byte, message proto.Message, statuses func() []*runtime.ContainerStatus) ([]byte, error) {
	if !c.ledger.mentioned(raw) && !c.namer.mentions(raw) || proto.Unmarshal(raw, message) != nil {
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	changed := false
	for _, status := range statuses() {
		changed = c.restoreContainer(ctx, status) || changed
	}
	if !changed {
		return raw, nil
	}
	return c.encodeRestored(message, raw), nil
}

// restoreContainer restores image.image and image_ref of a container's status.
// It returns whether anything changed.
func (c call) restoreContainer(ctx context.Context, status *runtime.ContainerStatus) (changed bool) {
	specified := ""
	if name, err := Parse(status.GetImage().GetUserSpecifiedImage()); err == nil {
		specified = name.String()
	}
	if shown := c.shownFor(ctx, status.GetImage().GetImage(), specified); shown != status.GetImage().GetImage() {
		status.Image.Image, specified, changed = shown, shown, true
	}
	if shown := c.shownFor(ctx, status.GetImageRef(), specified); shown != status.GetImageRef() {
		status.ImageRef, changed = shown, true
	}
	return changed
}

// shownFor returns the name to show in place of a hidden reference: a name that
// the ledger has for it, another name of its image or, if the image has none, the
// image's ID, as runtimes do. If the runtime fails to say what the image is called,
// the reference stays.
func (c call) shownFor(ctx context.Context, reference, specified string) string {
	id, hidden := c.ledger.hiddenOn(reference)
	if !hidden {
		return c.namer.replaceName(reference, specified)
	}
	if original, ok := preferred(c.ledger.namesOf(id), reference, specified); ok {
		return original
	}
	image, err := c.runtime.status(ctx, id)
	switch {
	case err != nil:
		if status.Code(err) != codes.Canceled { // by the client
			c.warn(fmt.Errorf("restore the name of %s, which is shown as it is: %w", reference, err))
		}
		return reference
	case image == nil:
		return id
	}
	c.ledger.restoreImage(image)
	names := image.RepoTags
	if strings.Contains(reference, "@") {
		names = image.RepoDigests
	}
	return append(names, id)[0]
}

// preferred chooses among the names that stand for a stored reference: the one
// that the user specified, or one of the same repository, or the reference
// itself where it was asked for as well, or the oldest.
func preferred(names []entry, stored, specified string) (best string, ok bool) {
	rank := -1
	for _, name := range names {
		score := 0
		switch {
		case name.Stored != stored:
			continue
		case name.Original == specified:
			score = 3
		case repository(name.Original) == repository(specified):
			score = 2
		case name.Original == stored:
			score = 1
		}
		if score > rank {
			best, rank = name.Original, score
		}
	}
	return best, rank >= 0
}
