package rewrite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestAnswersEqualThoseWithoutTheShim makes the same random calls on a node
// whose images come from the registry, and on one where they are pulled from
// where their names say. Clients must see the same.
func TestAnswersEqualThoseWithoutTheShim(t *testing.T) {
	for _, crio := range []bool{false, true} {
		for seed := range uint64(40) {
			t.Run(fmt.Sprintf("crio=%v/seed=%d", crio, seed), func(t *testing.T) {
				w := newTwins(t, rand.New(rand.NewPCG(seed, 1)))
				w.shim.runtime.crio, w.plain.runtime.crio = crio, crio
				for range 60 {
					w.step()
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// twins are two nodes that get the same calls.
type twins struct {
	t          *testing.T
	random     *rand.Rand
	shim       *node
	plain      client
	versions   int
	containers []string // the same on both
	log        []string
}

// twinNames are what the clients ask for: several tags of one repository, the
// same image under two registries' names, and a name that no registry mirrors.
// The mirror's own names are not among them: what is there under such a name
// serves the others, too, as it is meant to.
var twinNames = []string{
	"docker.io/library/nginx:1.25", "docker.io/library/nginx:latest", "docker.io/library/redis:7",
	"registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9", "quay.io/only/there:1",
}

func mirrored(name string) string {
	switch name {
	case "registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9":
		return hub + "/pause:3.9"
	case "quay.io/only/there:1":
		return ""
	}
	return hub + name[len("docker.io"):]
}

func newTwins(t *testing.T, random *rand.Rand) *twins {
	w := &twins{t: t, random: random, shim: newNode(t), plain: client{t: t, runtime: newMemoryRuntime()}}
	for _, name := range twinNames {
		w.publish(name)
	}
	return w
}

// publish makes a new image of that name, in the original registry and in the
// mirror alike. At times it is one that another name has, too.
func (w *twins) publish(name string) {
	w.versions++
	image := newContent(fmt.Sprint("version ", w.versions))
	if w.random.IntN(3) == 0 {
		image = newContent(fmt.Sprint("version ", 1+w.random.IntN(w.versions)))
	}
	for _, other := range twinNames {
		if other == name || mirrored(other) == mirrored(name) && mirrored(name) != "" {
			w.shim.runtime.remote[other] = image
			w.plain.runtime.remote[other] = image
			if mirrored(name) != "" {
				w.shim.runtime.remote[mirrored(name)] = image
			}
		}
	}
}

func (w *twins) step() {
	name := twinNames[w.random.IntN(len(twinNames))]
	if w.plain.runtime.crio && name == "k8s.gcr.io/pause:3.9" {
		return // CRI-O removes a reference alone, and with it whatever shares it in the mirror
	}
	switch action := w.random.IntN(10); {
	case action < 4:
		w.note("pull", name)
		w.equal("image_ref of "+name, w.shim.mustPull(name), w.plain.mustPull(name))
		if w.random.IntN(3) == 0 {
			w.note("create", name)
			w.containers = append(w.containers, w.create(w.shim.client, name))
			w.create(w.plain, name)
		}
	case action < 5:
		w.note("publish", name)
		w.publish(name)
	case action < 6:
		w.shim.registry.down = !w.shim.registry.down
		w.note("registry down", fmt.Sprint(w.shim.registry.down))
	case action < 8:
		w.note("remove", name)
		w.shim.remove(name)
		w.plain.remove(name)
	default:
		if images := w.plain.list(""); len(images) > 0 {
			id := images[w.random.IntN(len(images))].Id
			if w.random.IntN(2) == 0 {
				w.note("remove", id)
				w.shim.remove(id)
				w.plain.remove(id)
			}
		}
	}
	w.compare()
}

func (w *twins) compare() {
	with, without := w.shim.list(""), w.plain.list("")
	w.equal("list", fmt.Sprint(allNames(with)), fmt.Sprint(allNames(without)))
	for _, image := range without {
		w.equal("status of "+image.Id, names(w.shim.status(image.Id)), names(image))
	}
	for _, container := range w.containers {
		w.compareContainer(container)
	}
	for _, name := range twinNames {
		w.equal("status of "+name, names(w.shim.status(name)), names(w.plain.status(name)))
	}
}

func (w *twins) create(c client, image string) string {
	request := &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: image, UserSpecifiedImage: image}}}
	response := &runtime.CreateContainerResponse{}
	if err := c.call(w.t.Context(), "RuntimeService", "CreateContainer", request, response); err != nil {
		w.t.Fatal(err)
	}
	return response.ContainerId
}

// compareContainer compares a container's image in its status. Of an image's
// several names the shim shows the one that the user specified, and a runtime
// any; a runtime that has no name left shows the ID.
func (w *twins) compareContainer(container string) {
	status := func(c client) *runtime.ContainerStatus {
		response := &runtime.ContainerStatusResponse{}
		if err := c.call(w.t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: container}, response); err != nil {
			w.t.Fatal(err)
		}
		return response.Status
	}
	with := status(w.shim.client)
	image := w.plain.status(with.ImageId)
	if image == nil || with.ImageId == "" {
		return // removed
	}
	stored := client{t: w.t, runtime: w.shim.runtime}.status(with.ImageId)
	check := func(shown string, names, storedNames []string) {
		noName := (len(names) == 0 || len(storedNames) == 0) && shown == image.Id
		if !noName && !slices.Contains(names, shown) {
			w.equal("status of "+container, shown, fmt.Sprint(names))
		}
	}
	check(with.Image.Image, image.RepoTags, stored.RepoTags)
	check(with.ImageRef, image.RepoDigests, stored.RepoDigests)
}

func (w *twins) note(action, object string) { w.log = append(w.log, action+" "+object) }

func (w *twins) equal(what, with, without string) {
	w.t.Helper()
	if with != without {
		w.t.Errorf("%s:\nwith    %s\nwithout %s\nafter %q\nruntime %v", what, with, without, w.log, allNames(client{t: w.t, runtime: w.shim.runtime}.list("")))
	}
}
