package ledger

import (
	"slices"
	"strings"

	"image-cri-shim/rewrite/imagename"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Origin describes where an image came from: the original reference that was asked for, and
// the stored reference that the image was pulled or found under.
type Origin struct {
	Original string
	Stored   string
	Registry string // address of the registry that has the image as Stored
}

// Entries returns the entries for an image: one for the original, and one for each digest
// that the image has in the repository of the stored reference.
func (o Origin) Entries(image *runtime.Image) []Entry {
	name := func(original, stored string) Entry {
		return Entry{Original: original, Image: image.Id, Stored: stored, Registry: o.Registry}
	}
	names := []Entry{name(o.Original, o.Stored)}
	for _, reference := range imagename.Digests(image, imagename.Repository(o.Stored)) {
		if _, digest, ok := strings.Cut(reference, "@"); ok && reference != o.Stored {
			names = append(names, name(imagename.Repository(o.Original)+"@"+digest, reference))
		}
	}
	return names
}

// RecordPull records that an original means the image that was pulled for it. older is the
// image that the runtime has under the original itself, or nil. visible are the digests of
// the stored reference's repository that clients saw before the pull.
func (l *Ledger) RecordPull(from Origin, image, older *runtime.Image, visible []string) error {
	l.recording.Lock()
	defer l.recording.Unlock()
	recorded := l.hideRef(from.Stored, image, visible)
	recorded.SetNames = append(recorded.SetNames, from.Entries(image)...)
	if older != nil && older.Id != image.Id {
		recorded.Hide = append(recorded.Hide, ImageRef{Reference: from.Original, Image: older.Id})
	}
	return l.Apply(recorded)
}

// RecordFailedPull records the image that the runtime has under a stored reference after a
// failed pull of that reference.
func (l *Ledger) RecordFailedPull(stored string, image *runtime.Image, visible []string) error {
	l.recording.Lock()
	defer l.recording.Unlock()
	return l.Apply(l.hideRef(stored, image, visible))
}

// RecordOwnPull records that an image was pulled by its own name, original. inRegistry
// reports whether original is a name in a configured registry; images pulled for other names
// may then be stored under it.
func (l *Ledger) RecordOwnPull(original string, image *runtime.Image, inRegistry bool) error {
	l.recording.Lock()
	defer l.recording.Unlock()
	var moved []Entry
	var asked []ImageRef
	for _, reference := range append([]string{original}, imagename.Digests(image, imagename.Repository(original))...) {
		if known, ok := l.Lookup(reference); ok && known.YieldsTo(image.Id) {
			moved = append(moved, known)
		}
		on := ImageRef{Reference: reference, Image: image.Id}
		l.showWhilePulled(on)
		if inRegistry || l.placement(reference, image.Id) != (placement{}) {
			asked = append(asked, on)
		}
	}
	recorded := RemoveMoved(moved...)
	recorded.Show = asked
	return l.Apply(recorded)
}

// RecordPreloaded records the names of an image that was found under a stored reference. The
// reference stays visible. Existing entries for the image stay unchanged.
func (l *Ledger) RecordPreloaded(from Origin, image *runtime.Image) error {
	var recorded Change
	for _, name := range from.Entries(image) {
		name.Preloaded = true
		if known, ok := l.Lookup(name.Original); !ok || known.Image != image.Id {
			recorded.SetNames = append(recorded.SetNames, name)
		}
	}
	return l.Apply(recorded)
}

// hideRef returns the change that hides a stored reference, and the digests of its
// repository, on the image that was pulled. References that clients saw on this image before
// the pull stay visible. If the stored reference was visible on another image, it gets an
// entry for that image, so that clients still find the image by it.
func (l *Ledger) hideRef(stored string, image *runtime.Image, visible []string) Change {
	var recorded Change
	on, wasVisible := l.visibleOn(stored)
	shown := wasVisible && on == image.Id
	if wasVisible && !shown {
		recorded.SetNames = append(recorded.SetNames, Entry{Original: stored, Image: on, Stored: stored})
	}
	record := func(on ImageRef, shown bool) {
		if shown {
			recorded.Show = append(recorded.Show, on)
		} else {
			recorded.Hide = append(recorded.Hide, on)
		}
	}
	record(ImageRef{Reference: stored, Image: image.Id}, shown)
	for _, digest := range imagename.Digests(image, imagename.Repository(stored)) {
		if digest != stored {
			on := ImageRef{Reference: digest, Image: image.Id}
			record(on, slices.Contains(visible, digest) || l.askedWhilePulled(stored, on))
		}
	}
	return recorded
}

// VisibleDigests returns the digest references of a repository that clients see on an image.
func (l *Ledger) VisibleDigests(image *runtime.Image, in string) []string {
	return slices.DeleteFunc(imagename.Digests(image, in), func(digest string) bool { return l.IsHidden(digest, image.GetId()) })
}
