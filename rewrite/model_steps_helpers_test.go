package rewrite

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// differ returns an error if the answers of the nodes differ.
func differ(what string, with, without any) error {
	if fmt.Sprint(with) == fmt.Sprint(without) {
		return nil
	}
	return fmt.Errorf("%s:\n\twith    %v\n\twithout %v", what, with, without)
}

// tell makes a call and returns its answer, or the code of its error, as text.
func tell(c client, service, method string, request, response proto.Message, text func() string) string {
	if err := c.call(c.t.Context(), service, method, request, response); err != nil {
		return status.Code(err).String()
	}
	return text()
}

func tellPull(c client, name string) string {
	response := &runtime.PullImageResponse{}
	request := &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: name}}
	return tell(c, "ImageService", "PullImage", request, response, response.GetImageRef)
}

func tellRemove(c client, name string) string {
	request := &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: name}}
	return tell(c, "ImageService", "RemoveImage", request, &runtime.RemoveImageResponse{}, func() string { return "removed" })
}

func tellStatus(c client, name string) string {
	response := &runtime.ImageStatusResponse{}
	request := &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: name}}
	return tell(c, "ImageService", "ImageStatus", request, response, func() string { return names(response.Image) })
}

func tellList(c client) string {
	response := &runtime.ListImagesResponse{}
	return tell(c, "ImageService", "ListImages", &runtime.ListImagesRequest{}, response, func() string { return fmt.Sprint(allNames(response.Images)) })
}

func tellCreate(c client, name string) string {
	response := &runtime.CreateContainerResponse{}
	spec := &runtime.ImageSpec{Image: name, UserSpecifiedImage: name}
	request := &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: spec}}
	return tell(c, "RuntimeService", "CreateContainer", request, response, response.GetContainerId)
}

// someID returns the ID of an image, or one that no image has.
func (w *world) someID() string {
	ids := slices.Sorted(maps.Keys(w.plain.runtime.ids))
	if len(ids) == 0 {
		return strings.Repeat("0", 64)
	}
	return choose(w, ids)
}

// spell returns a name as a client may write it.
func (w *world) spell(name string) string {
	if w.random.IntN(2) == 0 {
		return name
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
}

// pull pulls a name. While lookups in the hub fail, the shim has no credentials for the hub's own
// names, so that their pulls must fail with the shim.
func (w *world) pull(name string) error {
	shim, plain := w.node.runtime, w.plain.runtime
	for _, reference := range []string{name, imagename.Repository(name) + "@" + plain.remote[name].digest} {
		if on := shim.names[reference]; imagename.Host(name) == shim.broken && on != "" && plain.names[reference] != on {
			// A pull of the hub's own name may store an image and then fail. If the runtime has
			// a hidden image there already, the shim can't tell which pull has stored it.
			return nil
		}
	}
	w.note("pull %s", name)
	with := tellPull(w.shim, w.spell(name))
	if imagename.Host(name) == hub && w.node.registry.down {
		return differ("pull "+name+" while the hub is down", with, codes.Unknown)
	}
	without := tellPull(w.plain, name)
	delete(w.preloaded, name)
	return differ("pull "+name, with, without)
}

// remove removes an image by its name or ID.
func (w *world) remove(image string) error {
	shim, plain := w.node.runtime, w.plain.runtime
	older := shim.names[image]
	if slices.ContainsFunc([]string{shim.find(image), plain.find(image), older, plain.names[hubs(image)]}, w.isUsed) {
		return nil // CRI-O refuses
	}
	w.preload(image)
	w.note("remove %s", image)
	named := plain.names[image]
	w.dropPreloadedUnder(image)
	with, without := tellRemove(w.shim, image), tellRemove(w.plain, image)
	// The former image of a moved name is removed too, if it has no name left. Without the shim
	// it has lost the name with the pull, so that it can get the name again.
	if named != "" && older != "" && older != named && len(imagename.References(plain.image(older))) == 0 {
		delete(plain.ids, older)
	}
	// The removal of a preloaded image's name removes the image, unless a pull for another name
	// has stored it too.
	if under := w.preloaded[image]; under != "" && plain.names[under] == named && plain.crio && !w.node.ledger.NeedsStored(under, named, image) {
		tellRemove(w.plain, under)
	}
	w.dropPreloaded()
	return differ("remove "+image, with, without)
}

// isUsed reports whether a container uses an image and the runtime therefore does not remove it.
func (w *world) isUsed(image string) bool {
	return w.plain.runtime.crio && slices.ContainsFunc(w.containers, func(c container) bool { return c.image == image })
}

// preload applies the only intended difference: an image under the hub's name counts as the
// image of the same path on docker.io, or on a registry in match, if it has no names of a third
// registry.
func (w *world) preload(name string) {
	plain, under := w.plain.runtime, hubs(name)
	if under == "" || under == name || plain.names[name] != "" || plain.names[under] == "" {
		return
	}
	if host := imagename.Host(name); host != "docker.io" && host != "registry.k8s.io" {
		return
	}
	id := plain.names[under]
	for _, other := range imagename.References(plain.image(id)) {
		if imagename.Host(other) != hub && imagename.Host(other) != imagename.Host(name) {
			return
		}
	}
	plain.names[name], w.preloaded[name] = id, under
	for _, digest := range imagename.Digests(plain.image(id), imagename.Repository(under)) {
		_, sum, _ := strings.Cut(digest, "@")
		if own := imagename.Repository(name) + "@" + sum; plain.names[own] == "" {
			plain.names[own], w.preloaded[own] = id, digest
		}
	}
}

// dropPreloaded drops the preloaded names if their reference was removed or moved.
func (w *world) dropPreloaded() {
	plain := w.plain.runtime
	for name, under := range w.preloaded {
		if plain.names[name] == "" || plain.names[under] != plain.names[name] {
			delete(w.preloaded, name)
			delete(plain.names, name)
		}
	}
}

// dropPreloadedUnder drops the preloaded names of a reference that is about to be removed.
// Otherwise CRI-O would keep the image for them.
func (w *world) dropPreloadedUnder(reference string) {
	for name, under := range w.preloaded {
		if under == reference && w.plain.runtime.crio {
			delete(w.preloaded, name)
			delete(w.plain.runtime.names, name)
		}
	}
}

// create creates a container by a name or an ID.
func (w *world) create(image string) error {
	w.preload(image)
	w.note("create %s", image)
	asked := image
	if !strings.HasPrefix(image, "sha256:") && strings.Contains(image, "/") {
		asked = w.spell(image)
	}
	with, without := tellCreate(w.shim, asked), tellCreate(w.plain, asked)
	if of, ok := w.plain.runtime.made[without]; ok {
		w.containers = append(w.containers, container{id: without, image: of.id})
	}
	return differ("create "+image, with, without)
}

// removeContainer removes a container. The shim does not intercept this call.
func (w *world) removeContainer() {
	if len(w.containers) == 0 {
		return
	}
	at := w.random.IntN(len(w.containers))
	w.note("remove %s", w.containers[at].id)
	for _, m := range []*memoryRuntime{w.node.runtime, w.plain.runtime} {
		delete(m.containers, w.containers[at].id)
		delete(m.made, w.containers[at].id)
	}
	w.containers = slices.Delete(w.containers, at, at+1)
}

// breakHub makes lookups in the hub fail, or pulls from it before or after they store the image,
// or neither.
func (w *world) breakHub() {
	state := w.random.IntN(4)
	w.note("hub: %s", []string{"up", "down", "pulls fail", "pulls fail late"}[state])
	w.node.registry.down = state == 1
	for _, m := range []*memoryRuntime{w.node.runtime, w.plain.runtime} {
		m.broken, m.leaves = "", state == 3
		if state >= 2 {
			m.broken = hub
		}
	}
}

// runtimeRestart makes calls while the runtime is unavailable.
func (w *world) runtimeRestart(name string) error {
	w.note("restart the runtime, asking for %s", name)
	w.node.runtime.down = status.Error(codes.Unavailable, "connection refused")
	defer func() { w.node.runtime.down = nil }()
	for what, answer := range map[string]string{
		"status": tellStatus(w.shim, name), "list": tellList(w.shim), "remove": tellRemove(w.shim, name),
		"create": tellCreate(w.shim, name), "pull": tellPull(w.shim, name),
	} {
		if err := differ(what+" while the runtime is away", answer, codes.Unavailable); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) status(name string) error {
	w.preload(name)
	w.dropPreloaded()
	w.note("status %s", name)
	return differ("status of "+name, tellStatus(w.shim, w.spell(name)), tellStatus(w.plain, name))
}

func (w *world) compareLists() error {
	w.dropPreloaded()
	for name, id := range w.plain.runtime.names {
		w.had[ledger.ImageRef{Reference: name, Image: id}] = true
	}
	return differ("list", tellList(w.shim), tellList(w.plain))
}

// compare checks that clients see the same names on both nodes.
func (w *world) compare() error {
	if err := w.compareLists(); err != nil {
		return err
	}
	id := w.someID()
	if err := differ("status of "+id, tellStatus(w.shim, id), tellStatus(w.plain, id)); err != nil {
		return err
	}
	for range 2 {
		if err := w.status(choose(w, modelNames)); err != nil {
			return err
		}
	}
	return w.compareContainers()
}
