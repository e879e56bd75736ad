package trace

import (
	"slices"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Bounds of what an event says.
const (
	mostImages = 16
	longest    = 2 << 10 // bytes of a text
)

// about is what a call is about, by its request. message may be nil.
func (n *names) about(message proto.Message) subject {
	var s subject
	if m, ok := message.(interface{ GetPodSandboxId() string }); ok && m.GetPodSandboxId() != "" {
		s.pod = n.pod(m.GetPodSandboxId())
	}
	if m, ok := message.(interface{ GetContainerId() string }); ok {
		n.add(&s, m.GetContainerId())
	}
	if m, ok := message.(interface{ GetImage() *runtime.ImageSpec }); ok {
		s.image(m.GetImage())
	}
	switch m := message.(type) {
	case *runtime.RunPodSandboxRequest:
		s.pod = podName(m.GetConfig().GetMetadata())
	case *runtime.CreateContainerRequest:
		if name := podName(m.GetSandboxConfig().GetMetadata()); name != "" {
			s.pod = name
		}
		s.container = m.GetConfig().GetMetadata().GetName()
		s.image(m.GetConfig().GetImage())
		for _, mount := range m.GetConfig().GetMounts() {
			s.image(mount.GetImage())
		}
	case *runtime.ListPodSandboxRequest:
		s.pod = n.pod(m.GetFilter().GetId())
	case *runtime.ListContainersRequest:
		s.pod = n.pod(m.GetFilter().GetPodSandboxId())
		n.add(&s, m.GetFilter().GetId())
	case *runtime.ListContainerStatsRequest:
		s.pod = n.pod(m.GetFilter().GetPodSandboxId())
		n.add(&s, m.GetFilter().GetId())
	case *runtime.ListImagesRequest:
		s.image(m.GetFilter().GetImage())
	case *runtime.StreamImagesRequest:
		s.image(m.GetFilter().GetImage())
	case *runtime.ContainerEventResponse:
		n.happened(&s, m)
	}
	return s
}

// add adds a container by its ID, and what is known of it.
func (n *names) add(s *subject, id string) {
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
	s.image(&runtime.ImageSpec{Image: known.image})
}

// happened is what an event of the runtime's is about. Its container may be the pod
// itself.
func (n *names) happened(s *subject, event *runtime.ContainerEventResponse) {
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
			s.image(status.GetImage())
		}
	}
}

func (s *subject) image(image *runtime.ImageSpec) {
	if name := imageName(image); name != "" && !slices.Contains(s.images, name) && len(s.images) < mostImages {
		s.images = append(s.images, name)
	}
}

// bounded is a text that is shown, of bounded length.
func bounded(text string) string {
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return text
}
