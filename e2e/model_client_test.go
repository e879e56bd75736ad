package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What the test's client does: through the shim in one world, without it in the other.

// pull pulls an image. At once afterwards its status must show it.
func (m *imageModel) pull(image string) {
	m.note("pull %s", image)
	m.ask("PullImage "+image, func(ctx context.Context, w *world) (string, error) {
		response, err := w.images().PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		if err != nil {
			return "", err
		}
		state, err := w.images().ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return response.ImageRef + ", then status " + state.GetImage().GetId(), err
	})
}

func (m *imageModel) remove(image string) {
	m.note("remove %s", image)
	m.preload(image)
	m.ask("RemoveImage "+image, func(ctx context.Context, w *world) (string, error) {
		_, err := w.images().RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return "", err
	})
}

func (m *imageModel) status(image string) {
	m.preload(image)
	m.ask("ImageStatus "+image, func(ctx context.Context, w *world) (string, error) {
		response, err := w.images().ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return imageLine(response.GetImage()), err
	})
}

// stream lists the images as newer clients do. A runtime without that answers with an error.
func (m *imageModel) stream() {
	m.ask("StreamImages", func(ctx context.Context, w *world) (string, error) {
		answer, err := streamImages(ctx, w.client)
		if err != nil {
			return "", err
		}
		var lines []string
		for _, image := range answer.(*runtimeapi.ListImagesResponse).Images {
			lines = append(lines, imageLine(image))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n"), nil
	})
}

// mostContainers is how many a world has at once.
const mostContainers = 6

func (m *imageModel) create(image, userSpecified string) {
	if len(m.containers) == mostContainers {
		m.removeContainer()
		return
	}
	m.preload(image)
	m.created++
	container := modelContainer{name: fmt.Sprintf("container-%d", m.created)}
	m.note("create %s of %s, user specified %q", container.name, image, userSpecified)
	var lostThrough, lostPlain bool // the worlds are asked at once
	created := m.ask("CreateContainer "+image, func(ctx context.Context, w *world) (string, error) {
		id, err := w.create(ctx, container.name, image, userSpecified)
		lost := hasLostContent(err)
		if w == m.through {
			container.through, lostThrough = id, lost
		} else {
			container.plain, lostPlain = id, lost
		}
		if lost {
			return "", nil
		}
		return "", err
	})
	switch {
	case lostThrough && !lostPlain:
		m.t.Errorf("the image %s has lost its content, only with the shim", image)
	case created && lostPlain && !lostThrough:
		_, err := m.through.containers().RemoveContainer(testContext(m.t), &runtimeapi.RemoveContainerRequest{ContainerId: container.through})
		if err != nil {
			m.t.Error(err)
		}
	case created && !lostPlain:
		m.containers = append(m.containers, container)
	}
}

// hasLostContent reports whether containerd could not make a container because it has
// removed a part of the image. It happens without the shim too, when other clients remove
// names of images that share content.
func hasLostContent(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "error unpacking image: blob ") && strings.Contains(text, "not found")
}

func (m *imageModel) removeContainer() {
	if len(m.containers) == 0 {
		return
	}
	i := m.random.IntN(len(m.containers))
	container := m.containers[i]
	m.containers = slices.Delete(m.containers, i, i+1)
	m.note("delete %s", container.name)
	m.ask("RemoveContainer", func(ctx context.Context, w *world) (string, error) {
		_, err := w.containers().RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: container.in(m, w)})
		return "", err
	})
}

func (m *imageModel) containerStatus() {
	if len(m.containers) == 0 {
		return
	}
	container := m.containers[m.random.IntN(len(m.containers))]
	m.ask("ContainerStatus of "+container.name, func(ctx context.Context, w *world) (string, error) {
		response, err := w.containers().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container.in(m, w)})
		state := response.GetStatus()
		return fmt.Sprintf("image %s, image_ref %s, image_id %s", imageLess(state.GetImage()), state.GetImageRef(), state.GetImageId()), err
	})
}

// in is the container's ID in one of the worlds.
func (c modelContainer) in(m *imageModel, w *world) string {
	if w == m.through {
		return c.through
	}
	return c.plain
}
