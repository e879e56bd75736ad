package trace

import (
	"slices"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Bounds of an event.
const (
	maxImages    = 16
	maxTextBytes = 2 << 10 // bytes of a text
)

// subjectOf returns the subject of a call, found in its request, or of a runtime event.
// message may be nil.
func (n *nameCache) subjectOf(message proto.Message) subject {
	var s subject
	if m, ok := message.(interface{ GetPodSandboxId() string }); ok && m.GetPodSandboxId() != "" {
		s.pod = n.pod(m.GetPodSandboxId())
	}
	if m, ok := message.(interface{ GetContainerId() string }); ok {
		n.addContainerTo(&s, m.GetContainerId())
	}
	if m, ok := message.(interface{ GetImage() *runtime.ImageSpec }); ok {
		s.addImage(m.GetImage())
	}
	switch m := message.(type) {
	case *runtime.PullImageRequest:
		s.pod = podName(m.GetSandboxConfig().GetMetadata())
	case *runtime.RunPodSandboxRequest:
		s.pod = podName(m.GetConfig().GetMetadata())
	case *runtime.CreateContainerRequest:
		if name := podName(m.GetSandboxConfig().GetMetadata()); name != "" {
			s.pod = name
		}
		s.container = m.GetConfig().GetMetadata().GetName()
		s.addImage(m.GetConfig().GetImage())
		for _, mount := range m.GetConfig().GetMounts() {
			s.addImage(mount.GetImage())
		}
	case *runtime.ListPodSandboxRequest:
		s.pod = n.pod(m.GetFilter().GetId())
	case *runtime.ListContainersRequest:
		s.pod = n.pod(m.GetFilter().GetPodSandboxId())
		n.addContainerTo(&s, m.GetFilter().GetId())
	case *runtime.ListContainerStatsRequest:
		s.pod = n.pod(m.GetFilter().GetPodSandboxId())
		n.addContainerTo(&s, m.GetFilter().GetId())
	case *runtime.ListImagesRequest:
		s.addImage(m.GetFilter().GetImage())
	case *runtime.StreamImagesRequest:
		s.addImage(m.GetFilter().GetImage())
	case *runtime.ContainerEventResponse:
		n.addEventTo(&s, m)
	}
	return s
}

// addContainerTo sets the container with an ID, and its pod and image if they are known.
func (n *nameCache) addContainerTo(s *subject, id string) {
	if id == "" {
		return
	}
	known, ok := n.container(id)
	if !ok {
		s.container = id
		return
	}
	s.container = known.name
	if known.pod != "" {
		s.pod = n.pod(known.pod)
	}
	s.addImage(&runtime.ImageSpec{Image: known.image})
}

// addEventTo sets the subject of a runtime event. The container ID of an event about a
// pod is the ID of the pod's sandbox.
func (n *nameCache) addEventTo(s *subject, event *runtime.ContainerEventResponse) {
	if metadata := event.GetPodSandboxStatus().GetMetadata(); metadata != nil {
		s.pod = podName(metadata)
	}
	if event.ContainerId == event.GetPodSandboxStatus().GetId() {
		s.container, s.images = "", nil
		return
	}
	for _, status := range event.GetContainersStatuses() {
		if status.Id == event.ContainerId {
			s.container, s.images = status.GetMetadata().GetName(), nil
			s.addImage(status.GetImage())
		}
	}
}

func (s *subject) addImage(image *runtime.ImageSpec) {
	if name := imageName(image); name != "" && !slices.Contains(s.images, name) && len(s.images) < maxImages {
		s.images = append(s.images, name)
	}
}

// truncate returns text cut to maxTextBytes.
func truncate(text string) string {
	if len(text) > maxTextBytes {
		text = text[:maxTextBytes] + "..."
	}
	return text
}
