package ledger

import (
	"maps"
	"slices"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// Reconcile compares the ledger with images, the list of all images of the runtime. at is the
// time when the list was requested; later records stay.
//
// Reconcile drops a name in three cases: the image was removed, the image no longer has a
// reference from the repository that it was pulled from, or the runtime has another image
// under the name itself. It drops the leftover and asked records of a reference that the
// image no longer has. A name stops hiding its stored reference if the image has lost that
// reference.
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

// stillMeans reports whether a name still means its image. ownID is the ID of the image that
// the runtime has under the name itself, or empty. The caller holds the mutex.
func (l *Ledger) stillMeans(name Entry, image *runtime.Image, ownID string) bool {
	if ownID != "" && name.YieldsTo(ownID) && !l.hides(name.Original, ownID) {
		return false // this image was loaded without the shim
	}
	return l.stillOn(name, image)
}

// stillOn reports whether an image is still the one that a name was recorded for:
//   - A pulled image must have a reference of the repository that it was pulled from, or
//     another reference that a pull of the shim has stored. Otherwise the image was removed
//     and then added again in another way.
//   - An image without any reference is accepted, because newer images may have taken its
//     references.
//   - A preloaded image must still have the reference that it was found under.
//
// The caller holds the mutex.
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

// IsStillOn reports whether an image is still the one that a name was recorded for. See
// stillOn for the rules.
func (l *Ledger) IsStillOn(name Entry, image *runtime.Image) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.stillOn(name, image)
}

// Observe records that at the time at the runtime had reference on the image with the ID
// holder, or on no image if holder is empty. It drops the records of the reference on other images.
func (l *Ledger) Observe(reference, holder string, at time.Time) error {
	l.mutex.RLock()
	known := l.placements[reference]
	stale := len(known) > 1 || len(known) == 1 && known[holder] == placement{}
	l.mutex.RUnlock()
	if !stale {
		return nil
	}
	return l.edit(func() {
		l.markLost(reference, holder, at)
		l.clear(at, func(r, image string) bool { return r == reference && image != holder })
	})
}
