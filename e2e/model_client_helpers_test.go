package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The calls of the test's client: in one runtime through the shim, in the other directly.

// pull pulls an image. Its status must show it immediately afterwards.
func (m *imageModel) pull(image string) {
	m.logStep("pull %s", image)
	m.ask("PullImage "+image, func(ctx context.Context, r *modelRuntime) (string, error) {
		response, err := r.images().PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		if err != nil {
			return "", err
		}
		state, err := r.images().ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return response.ImageRef + ", then status " + state.GetImage().GetId(), err
	})
}

func (m *imageModel) remove(image string) {
	m.logStep("remove %s", image)
	m.preload(image)
	m.ask("RemoveImage "+image, func(ctx context.Context, r *modelRuntime) (string, error) {
		_, err := r.images().RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return "", err
	})
}

func (m *imageModel) status(image string) {
	m.preload(image)
	m.ask("ImageStatus "+image, func(ctx context.Context, r *modelRuntime) (string, error) {
		response, err := r.images().ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}})
		return imageLine(response.GetImage()), err
	})
}

// stream lists the images with StreamImages. A runtime that lacks it answers with an error.
func (m *imageModel) stream() {
	m.ask("StreamImages", func(ctx context.Context, r *modelRuntime) (string, error) {
		answer, err := streamImages(ctx, r.client)
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

// mostContainers is the maximum number of containers in a runtime.
const mostContainers = 6

func (m *imageModel) create(image, userSpecified string) {
	if len(m.containers) == mostContainers {
		m.removeContainer()
		return
	}
	m.preload(image)
	m.created++
	container := modelContainer{name: fmt.Sprintf("container-%d", m.created)}
	m.logStep("create %s of %s, user specified %q", container.name, image, userSpecified)
	var lostThrough, lostPlain bool // the runtimes are called concurrently
	created := m.ask("CreateContainer "+image, func(ctx context.Context, r *modelRuntime) (string, error) {
		id, err := r.create(ctx, container.name, image, userSpecified)
		lost := hasLostContent(err)
		if r == m.through {
			container.through, lostThrough = id, lost
		} else {
			container.withoutShim, lostPlain = id, lost
		}
		if lost {
			return "", nil
		}
		return "", err
	})
	switch {
	case lostThrough && !lostPlain:
		m.t.Errorf("the image %s has lost content, but only with the shim", image)
	case created && lostPlain && !lostThrough:
		_, err := m.through.containers().RemoveContainer(testContext(m.t), &runtimeapi.RemoveContainerRequest{ContainerId: container.through})
		if err != nil {
			m.t.Error(err)
		}
	case created && !lostPlain:
		m.containers = append(m.containers, container)
	}
}

// hasLostContent reports whether containerd could not create a container because it has
// removed content of the image. This happens without the shim too, if other clients remove
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
	m.logStep("delete %s", container.name)
	m.ask("RemoveContainer", func(ctx context.Context, r *modelRuntime) (string, error) {
		_, err := r.containers().RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: container.in(m, r)})
		return "", err
	})
}

func (m *imageModel) containerStatus() {
	if len(m.containers) == 0 {
		return
	}
	container := m.containers[m.random.IntN(len(m.containers))]
	m.ask("ContainerStatus of "+container.name, func(ctx context.Context, r *modelRuntime) (string, error) {
		response, err := r.containers().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container.in(m, r)})
		state := response.GetStatus()
		return fmt.Sprintf("image %s, image_ref %s, image_id %s", imageLess(state.GetImage()), state.GetImageRef(), state.GetImageId()), err
	})
}

// in returns the container's ID in one of the runtimes.
func (c modelContainer) in(m *imageModel, r *modelRuntime) string {
	if r == m.through {
		return c.through
	}
	return c.withoutShim
}
