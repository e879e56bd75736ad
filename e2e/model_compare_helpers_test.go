package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// settle waits until both runtimes show the same images, to the clients and in containerd's
// own API, and the clients see all images that containerd has. CRI follows changes through
// containerd's API with a delay, because it learns of them from events.
func (m *imageModel) settle() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		difference := m.compare(ctx)
		if difference == "" {
			return
		}
		select {
		case <-ctx.Done():
			m.t.Errorf("the runtimes differ:\n%s", difference)
			return
		case <-time.After(pause):
		}
	}
}

// compare returns the differences between the two runtimes.
func (m *imageModel) compare(ctx context.Context) string {
	var got, want modelView
	if problem := m.inBoth(func(r *modelRuntime, through bool) (err error) {
		if through {
			got, err = m.view(ctx, r)
		} else {
			want, err = m.view(ctx, r)
		}
		return err
	}); problem != nil {
		return problem.Error()
	}
	return strings.Join([]string{
		difference("clients see", got.clients, want.clients),
		difference("containerd has", got.records, want.records),
		difference("containers are", got.containers, want.containers),
		difference("clients see what containerd has", want.clients, want.derived),
	}, "")
}

// modelView is the visible state of a runtime, as lines.
type modelView struct {
	clients    []string // the list of images
	records    []string // the image records in containerd's own API
	derived    []string // the list of images that the records imply
	containers []string // the list of containers
}

func (m *imageModel) view(ctx context.Context, r *modelRuntime) (modelView, error) {
	listed, err := r.images().ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return modelView{}, err
	}
	records, err := r.store.Images(ctx)
	if err != nil {
		return modelView{}, err
	}
	containers, err := r.containers().ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return modelView{}, err
	}
	var seen modelView
	for _, image := range listed.Images {
		seen.clients = append(seen.clients, imageLine(image))
	}
	byID := make(map[string]*runtimeapi.Image)
	for _, record := range records {
		seen.records = append(seen.records, fmt.Sprintf("%s %s %v", record.Name, record.Target.GetDigest(), record.Labels))
		id, known := m.images.ids[record.Target.GetDigest()]
		if !known {
			return modelView{}, fmt.Errorf("%s has an image that was never published", record.Name)
		}
		if byID[id] == nil {
			byID[id] = &runtimeapi.Image{Id: id}
		}
		switch {
		case strings.HasPrefix(record.Name, "sha256:"):
		case strings.Contains(record.Name, "@"):
			byID[id].RepoDigests = append(byID[id].RepoDigests, record.Name)
		default:
			byID[id].RepoTags = append(byID[id].RepoTags, record.Name)
		}
	}
	for _, image := range byID {
		seen.derived = append(seen.derived, imageLine(image))
	}
	for _, container := range containers.Containers {
		seen.containers = append(seen.containers, fmt.Sprintf("%s image %s, image_ref %s, image_id %s",
			container.GetMetadata().GetName(), imageLess(container.GetImage()), container.GetImageRef(), container.GetImageId()))
	}
	for _, lines := range [][]string{seen.clients, seen.records, seen.derived, seen.containers} {
		slices.Sort(lines)
	}
	return seen, nil
}

// imageLine formats the fields of an image that must be equal in both runtimes. Sizes may
// differ.
func imageLine(image *runtimeapi.Image) string {
	if image == nil {
		return "none"
	}
	slices.Sort(image.RepoTags)
	slices.Sort(image.RepoDigests)
	return fmt.Sprintf("%s tags %v digests %v", image.Id, image.RepoTags, image.RepoDigests)
}

func imageLess(spec *runtimeapi.ImageSpec) string {
	return fmt.Sprintf("%s (user specified %q)", spec.GetImage(), spec.GetUserSpecifiedImage())
}

// difference returns the lines that only one runtime has.
func difference(what string, got, want []string) string {
	var text strings.Builder
	only := func(side string, lines, others []string) {
		for _, line := range lines {
			if !slices.Contains(others, line) {
				fmt.Fprintf(&text, "%s: only %s: %s\n", what, side, line)
			}
		}
	}
	only("with the shim", got, want)
	only("without it", want, got)
	return text.String()
}
