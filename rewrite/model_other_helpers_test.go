package rewrite

import (
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// other changes both runtimes directly, without the shim, as ctr, nerdctl, podman or another CRI
// client do. It skips changes without an equivalent on the node without the shim; comments give
// the reasons.
func (w *world) other(name string) {
	switch w.random.IntN(6) {
	case 0, 1:
		w.otherTags(name, w.loaded(), "load")
	case 2:
		w.otherPulls(name)
	case 3:
		if id := w.someID(); w.node.runtime.ids[id] && w.plain.runtime.ids[id] {
			w.otherTags(name, id, "tag")
		}
	case 4:
		w.otherRemoves(w.someID())
	default:
		w.otherRemoves(name)
	}
}

// loaded returns the ID of an image to load from an archive: a published image, or one that no
// registry has.
func (w *world) loaded() string {
	image := newContent("archive")
	if w.random.IntN(2) == 0 {
		image = w.plain.runtime.remote[choose(w, modelNames)]
	}
	return w.plain.runtime.idOf(image)
}

// otherTags gives an image a name.
func (w *world) otherTags(name, id, how string) {
	shim, plain := w.node.runtime, w.plain.runtime
	// The runtime has the image under this name already, but the name is hidden. Nothing changes,
	// so the shim can't detect that the client has given the name again.
	if w.isHidden(name, id) {
		return
	}
	w.note("other: %s %s as %s", how, id, name)
	for _, m := range []*memoryRuntime{shim, plain} {
		m.ids[id] = true
		m.names[name] = id
	}
	delete(w.preloaded, name)
}

// isHidden reports whether the runtime with the shim has an image under a reference, and the
// other runtime does not, or only by the preloaded rule.
func (w *world) isHidden(reference, id string) bool {
	return w.node.runtime.names[reference] == id && (w.plain.runtime.names[reference] != id || w.preloaded[reference] != "")
}

// otherPulls pulls a name with the hub's credentials.
func (w *world) otherPulls(name string) {
	plain := w.plain.runtime
	image := plain.remote[name]
	id, digest := plain.idOf(image), imagename.Repository(name)+"@"+image.digest
	// As in otherTags, for the tag and for the digest.
	for _, reference := range []string{name, digest} {
		if w.isHidden(reference, id) {
			return
		}
	}
	w.note("other: pull %s, %s", name, id)
	login := &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"}
	_, _ = w.direct.pull(name, login)
	_, _ = w.plain.pull(name, login)
	delete(w.preloaded, name)
}

// otherRemoves removes an image by its name or ID.
func (w *world) otherRemoves(image string) {
	shim, plain := w.node.runtime, w.plain.runtime
	id := plain.find(image)
	switch {
	case id == "", shim.find(image) != id, w.isUsed(id):
		// Without the shim, an image that was pulled under another name does not have the
		// registry's name, and a name that has moved is on another image.
		return
	case id != image && shim.crio && w.isRecorded(image):
		// CRI-O removes only the name. With the shim, the name also means the image by a pull
		// from the hub, which the runtime does not know.
		return
	case id != image && shim.crio && !slices.Equal(shim.image(id).RepoTags, plain.image(id).RepoTags):
		// CRI-O removes the name, and the image with its last name. Without the shim, the image
		// has other names.
		return
	}
	w.note("other: remove %s", image)
	w.dropPreloadedUnder(image)
	w.direct.remove(image)
	w.plain.remove(image)
}

// isRecorded reports whether the ledger has a name.
func (w *world) isRecorded(name string) bool {
	_, ok := w.node.ledger.Lookup(name)
	return ok
}

// idOf returns the runtime's ID of an image.
func (m *memoryRuntime) idOf(image content) string {
	if m.crio {
		return image.id[len("sha256:"):]
	}
	return image.id
}
