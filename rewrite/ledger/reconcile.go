package ledger

import (
	"maps"
	"slices"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// Reconcile drops what the runtime no longer has, when it has listed all its images. A
// record that was made after the list was asked for, at a time, stays.
//
// A name is dropped if its image is gone or has lost the references that it was pulled
// by, and if the runtime now has another image under the name itself. A leftover or an
// asked reference is dropped if the runtime no longer has it on that image, and a name
// stops hiding its stored reference then.
func (l *Ledger) Reconcile(images []*runtime.Image, at time.Time) error {
	byID := make(map[string]*runtime.Image, len(images))
	on := make(map[string]string, 2*len(images)) // image ID by canonical reference
	for _, image := range images {
		byID[image.GetId()] = image
		for _, reference := range imagename.References(image) {
			on[imagename.Canonical(reference)] = image.GetId()
		}
	}
	return l.edit(func() {
		for _, name := range slices.Collect(maps.Values(l.names)) {
			image := byID[name.Image]
			if name.At.After(at) || image != nil && l.stillMeans(name, image, on[name.Original]) {
				continue
			}
			l.removeName(name.Original)
			if image != nil && name.hidesStored() && on[name.Stored] == name.Image {
				l.addLeftover(name.stored(), at)
			}
		}
		for _, reference := range slices.Collect(maps.Keys(l.placements)) {
			l.markLost(reference, on[reference], at)
		}
		l.clear(at, func(reference, image string) bool { return on[reference] != image })
	})
}

// stillMeans reports whether a name still means its image. own is the image that the runtime
// has under the name itself. It is called with the mutex held.
func (l *Ledger) stillMeans(name Entry, image *runtime.Image, own string) bool {
	if own != "" && name.YieldsTo(own) && !l.hides(name.Original, own) {
		return false // loaded without the shim
	}
	return l.stillOn(name, image)
}

// stillOn reports whether an image has a reference of the repository that a name was
// pulled from, or another that the shim has put there. If not, it has been removed since
// and has come back in another way. An image without any reference may have lost them to
// newer images. A preloaded image is the name's as long as it has the reference that it was
// found under. It is called with the mutex held.
func (l *Ledger) stillOn(name Entry, image *runtime.Image) bool {
	references := imagename.References(image)
	switch {
	case name.Preloaded:
		found := imagename.Has(image, name.Stored) && !l.hides(name.Stored, image.GetId())
		return found || l.names[name.Stored].Image == image.GetId()
	case name.Original == name.Stored, len(references) == 0:
		return true
	}
	from := imagename.Repository(name.Stored)
	return slices.ContainsFunc(references, func(reference string) bool {
		return imagename.Repository(reference) == from || l.hides(imagename.Canonical(reference), image.GetId())
	})
}

// IsStillOn is stillOn without the mutex held.
func (l *Ledger) IsStillOn(name Entry, image *runtime.Image) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.stillOn(name, image)
}

// Observe drops what is recorded of a reference on other images than the one that the
// runtime has it on, which is empty if it has none. The runtime was asked at a time.
func (l *Ledger) Observe(reference, on string, at time.Time) error {
	l.mutex.RLock()
	known := l.placements[reference]
	stale := len(known) > 1 || len(known) == 1 && known[on] == placement{}
	l.mutex.RUnlock()
	if !stale {
		return nil
	}
	return l.edit(func() {
		l.markLost(reference, on, at)
		l.clear(at, func(r, image string) bool { return r == reference && image != on })
	})
}
