package rewrite

import (
	"image-cri-shim/rewrite/imagename"
	"slices"
	"strings"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// origin is the name that an image was asked for by, and the reference that it was pulled
// or found under instead.
type origin struct {
	Original string
	Stored   string
	Registry string // the address of the registry that has it as Stored
}

// entries returns the names that an image gets: the original, and those with the digests
// that the image has in the repository of the stored reference.
func (o origin) entries(image *runtime.Image) []entry {
	name := func(original, stored string) entry {
		return entry{Original: original, Image: image.Id, Stored: stored, Registry: o.Registry}
	}
	names := []entry{name(o.Original, o.Stored)}
	for _, reference := range imagename.Digests(image, imagename.Repository(o.Stored)) {
		if _, digest, ok := strings.Cut(reference, "@"); ok && reference != o.Stored {
			names = append(names, name(imagename.Repository(o.Original)+"@"+digest, reference))
		}
	}
	return names
}

// recordPull records that an original means the image that was pulled for it. older is the
// image that the runtime has under the original itself, nil if there is none. visible are
// the digests of the stored reference's repository that clients saw before the pull.
func (l *Ledger) recordPull(from origin, image, older *runtime.Image, visible []string) error {
	l.recording.Lock()
	defer l.recording.Unlock()
	recorded := l.hideRef(from.Stored, image, visible)
	recorded.SetNames = append(recorded.SetNames, from.entries(image)...)
	if older != nil && older.Id != image.Id {
		recorded.Hide = append(recorded.Hide, imageRef{Reference: from.Original, Image: older.Id})
	}
	return l.apply(recorded)
}

// recordFailedPull records the image that the runtime has under a stored reference after
// a failed pull of it.
func (l *Ledger) recordFailedPull(stored string, image *runtime.Image, visible []string) error {
	l.recording.Lock()
	defer l.recording.Unlock()
	return l.apply(l.hideRef(stored, image, visible))
}

// recordOwnPull records that an image was pulled by its own name. isRegistrys says that
// pulls for other names may be stored under that name.
func (l *Ledger) recordOwnPull(original string, image *runtime.Image, isRegistrys bool) error {
	l.recording.Lock()
	defer l.recording.Unlock()
	var moved []entry
	var asked []imageRef
	for _, reference := range append([]string{original}, imagename.Digests(image, imagename.Repository(original))...) {
		if known, ok := l.lookup(reference); ok && known.yieldsTo(image.Id) {
			moved = append(moved, known)
		}
		on := imageRef{Reference: reference, Image: image.Id}
		l.showWhilePulled(on)
		if isRegistrys || l.placement(reference, image.Id) != (placement{}) {
			asked = append(asked, on)
		}
	}
	recorded := removeMoved(moved...)
	recorded.Show = asked
	return l.apply(recorded)
}

// recordPreloaded records the names of an image that was found under a stored reference.
// The reference stays visible. Names that a pull has given the image stay as they are.
func (l *Ledger) recordPreloaded(from origin, image *runtime.Image) error {
	var recorded change
	for _, name := range from.entries(image) {
		name.Preloaded = true
		if known, ok := l.lookup(name.Original); !ok || known.Image != image.Id {
			recorded.SetNames = append(recorded.SetNames, name)
		}
	}
	return l.apply(recorded)
}

// hideRef returns the change that hides a stored reference, and the digests that came with
// it, on the image that was pulled. References that clients saw on this image stay visible.
// A client that has asked for the stored reference itself still finds the image that it
// meant.
func (l *Ledger) hideRef(stored string, image *runtime.Image, visible []string) change {
	var recorded change
	on, wasVisible := l.visibleOn(stored)
	shown := wasVisible && on == image.Id
	if wasVisible && !shown {
		recorded.SetNames = append(recorded.SetNames, entry{Original: stored, Image: on, Stored: stored})
	}
	record := func(on imageRef, shown bool) {
		if shown {
			recorded.Show = append(recorded.Show, on)
		} else {
			recorded.Hide = append(recorded.Hide, on)
		}
	}
	record(imageRef{Reference: stored, Image: image.Id}, shown)
	for _, digest := range imagename.Digests(image, imagename.Repository(stored)) {
		if digest != stored {
			on := imageRef{Reference: digest, Image: image.Id}
			record(on, slices.Contains(visible, digest) || l.askedWhilePulled(stored, on))
		}
	}
	return recorded
}

// visibleDigests returns the digests of a repository that clients see on an image.
func (l *Ledger) visibleDigests(image *runtime.Image, in string) []string {
	return slices.DeleteFunc(imagename.Digests(image, in), func(digest string) bool { return l.isHidden(digest, image.GetId()) })
}
