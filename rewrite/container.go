package rewrite

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
)

// containerStatus restores the names in the answer, so that a pod's status shows the image
// name in its manifest. The image's ID does not change.
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

// podSandboxStatus restores the names in the statuses of the sandbox's containers. CRI-O
// includes these statuses, and kubelet reads them, if EventedPLEG is enabled.
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

// containerEvents restores the names in each event. kubelet derives a pod's status from these
// events as from ContainerStatus (pleg/evented.go).
func (c call) containerEvents(ctx context.Context, encoded []byte) (forward []byte, transform func([]byte) ([]byte, error), err error) {
	return encoded, func(raw []byte) ([]byte, error) {
		event := &runtime.ContainerEventResponse{}
		return c.restoreContainers(ctx, raw, event, event.GetContainersStatuses)
	}, nil
}

// restoreContainers restores the names in an encoded message with statuses of containers. It
// decodes raw into message only if raw may contain a name to restore. statuses returns the
// decoded statuses.
func (c call) restoreContainers(ctx context.Context, raw []byte, message proto.Message, statuses func() []*runtime.ContainerStatus) ([]byte, error) {
	if !c.mayShowNames(raw) || proto.Unmarshal(raw, message) != nil {
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, intercept.RestoreTimeout)
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

// restoreContainer restores image.image and image_ref in a container's status. It reports
// whether anything changed.
func (c call) restoreContainer(ctx context.Context, status *runtime.ContainerStatus) (changed bool) {
	if status == nil {
		return false
	}
	image := status.GetImage().GetImage()
	s := containerNames{call: c, container: status.Id, image: status.ImageId, specified: status.GetImage().GetUserSpecifiedImage()}
	if name := s.tagInstead(ctx, image); name != image {
		status.Image.Image, changed = name, true
	} else if name := s.name(ctx, image); name != image {
		status.Image.Image, s.specified, changed = name, name, true
	}
	if name := s.name(ctx, status.ImageRef); name != status.ImageRef {
		status.ImageRef, changed = name, true
	}
	return changed
}

// listContainers restores the names in a list of containers.
func (c call) listContainers(ctx context.Context, encoded []byte) ([]byte, error) {
	l := newContainerListing(encoded)
	raw, err := c.forward(ctx, encoded)
	if err != nil {
		return nil, err
	}
	return c.restoreContainerList(ctx, raw, l)
}

// containerListing is one request for a list of containers.
type containerListing struct {
	asked    time.Time // time of the request
	complete bool      // the request has no filter, so the answer lists all containers
}

func newContainerListing(encoded []byte) containerListing {
	request := &runtime.ListContainersRequest{}
	complete := proto.Unmarshal(encoded, request) == nil && (request.Filter == nil || proto.Equal(request.Filter, &runtime.ContainerFilter{}))
	return containerListing{asked: time.Now(), complete: complete}
}

// restoreContainerList restores image.image of containers that were created by name, and
// image_ref, which is a digest in CRI-O. If the list is complete, it drops containers that no
// longer exist from the ledger.
func (c call) restoreContainerList(ctx context.Context, raw []byte, l containerListing) ([]byte, error) {
	response := &runtime.ListContainersResponse{}
	if !c.mayShowNames(raw) || proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	raw = c.restoreContainersIn(ctx, response, raw)
	if l.complete && c.ledger.HasContainers() {
		listed := make(map[string]bool, len(response.Containers))
		for _, container := range response.Containers {
			listed[container.Id] = true
		}
		c.reconcileContainers(listed, l.asked)
	}
	return raw, nil
}

// streamContainers is listContainers for a stream. Each message of the answer has the encoding
// of a ListContainers answer.
func (c call) streamContainers(ctx context.Context, encoded []byte) (forward []byte, transform func([]byte) ([]byte, error), err error) {
	l := newContainerListing(encoded)
	listed := make(map[string]bool)
	return encoded, func(raw []byte) ([]byte, error) {
		if raw == nil {
			if l.complete {
				c.reconcileContainers(listed, l.asked)
			}
			return nil, nil
		}
		response := &runtime.ListContainersResponse{}
		if !c.mayShowNames(raw) || proto.Unmarshal(raw, response) != nil {
			l.complete = false // the containers in this message are unknown
			return raw, nil
		}
		for _, container := range response.Containers {
			listed[container.Id] = true
		}
		return c.restoreContainersIn(ctx, response, raw), nil
	}, nil
}

// mayShowNames reports whether an encoded answer about containers may contain a name to
// restore.
func (c call) mayShowNames(raw []byte) bool {
	return c.ledger.HasContainers() || c.ledger.Mentions(raw) || c.namer.Mentions(raw)
}

// restoreContainersIn restores the names in a decoded list and returns the encoded list. raw is
// the list as received, which is returned if nothing changes.
func (c call) restoreContainersIn(ctx context.Context, response *runtime.ListContainersResponse, raw []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, intercept.RestoreTimeout)
	defer cancel()
	changed := false
	for _, container := range response.Containers {
		s := containerNames{call: c, container: container.Id, image: container.ImageId, specified: container.GetImage().GetUserSpecifiedImage(), listed: true}
		if asked := s.asked(container.GetImage().GetImage()); asked != container.GetImage().GetImage() {
			container.Image.Image, changed = asked, true
		}
		if name := s.name(ctx, container.ImageRef); name != container.ImageRef {
			container.ImageRef, changed = name, true
		}
	}
	if !changed {
		return raw
	}
	return c.encodeRestored(response, raw)
}

func (c call) reconcileContainers(listed map[string]bool, asked time.Time) {
	if err := c.ledger.ReconcileContainers(listed, asked); err != nil {
		c.warn(err)
	}
}
