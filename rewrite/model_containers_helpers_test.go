package rewrite

import (
	"fmt"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/ledger"
)

// compareContainers compares the lists of containers, and the status of one.
func (w *world) compareContainers() error {
	with, without := listContainers(w.shim), listContainers(w.plain)
	if len(with) != len(w.containers) || len(without) != len(w.containers) {
		return fmt.Errorf("%d and %d containers are listed of %d", len(with), len(without), len(w.containers))
	}
	for _, c := range w.containers {
		got, want := with[c.id], without[c.id]
		if err := differ("listed image of "+c.id, got.Image.Image, want.Image.Image); err != nil {
			return err
		}
		if !w.mayShow(c, got.ImageRef, want.ImageRef) {
			return differ("listed image_ref of "+c.id, got.ImageRef, want.ImageRef)
		}
	}
	if len(w.containers) == 0 {
		return nil
	}
	return w.compareContainer(choose(w, w.containers))
}

func listContainers(c client) map[string]*runtime.Container {
	response := &runtime.ListContainersResponse{}
	if err := c.call(c.t.Context(), "RuntimeService", "ListContainers", &runtime.ListContainersRequest{}, response); err != nil {
		c.t.Fatal(err)
	}
	containers := make(map[string]*runtime.Container)
	for _, container := range response.Containers {
		containers[container.Id] = container
	}
	return containers
}

// compareContainer compares a container's image in its status. If the image has several names,
// the runtime may show any of them, and the shim shows the one that the user specified.
func (w *world) compareContainer(c container) error {
	with, without := containerStatus(w.shim, c.id), containerStatus(w.plain, c.id)
	if err := differ("image_id of "+c.id, with.ImageId, without.ImageId); err != nil {
		return err
	}
	if !w.mayShow(c, with.Image.Image, without.Image.Image) {
		return differ("image of "+c.id, with.Image.Image, without.Image.Image)
	}
	if !w.mayShow(c, with.ImageRef, without.ImageRef) {
		return differ("image_ref of "+c.id, with.ImageRef, without.ImageRef)
	}
	return nil
}

// mayShow reports whether an answer about a container may show another string with the shim than
// without it. It must be a name of the image.
//
// CRI-O always shows the first tag that the image had when the container was created, or nothing.
// With the shim, this tag may have been hidden, or the names were in the ledger only. The shim
// does not know the names at that time, so the following differences are allowed:
//   - It shows a name that the image had at another time.
//   - It shows any string after the image has lost the name.
//   - It shows the hub's reference if a pull stored it and failed, and another pull moved it.
func (w *world) mayShow(c container, got, want string) bool {
	plain := w.plain.runtime
	switch {
	case got == want, plain.names[got] == c.image:
		return true
	case !plain.crio:
		return false
	case w.had[ledger.ImageRef{Reference: got, Image: c.image}], plain.names[want] != c.image:
		return true
	}
	frozen := w.node.runtime.made[c.id].name
	return got == frozen && w.node.runtime.names[frozen] != c.image
}

func containerStatus(c client, id string) *runtime.ContainerStatus {
	response := &runtime.ContainerStatusResponse{}
	if err := c.call(c.t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: id}, response); err != nil {
		c.t.Fatal(err)
	}
	return response.Status
}
