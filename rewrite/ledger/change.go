package ledger

import (
	"slices"
	"time"

	"image-cri-shim/rewrite/imagename"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Change is one update of the ledger. The fields are applied in their order.
type Change struct {
	RemoveNames []string   // originals that mean no image any more, or that the runtime has under their own name
	SetNames    []Entry    // names that mean another image now, or the same one as another reference
	Leftover    []ImageRef // stored references of names that mean another image now: still hidden, unless shown
	Hide        []ImageRef // references that a pull has put on an image, or that now mean another image
	Show        []ImageRef // references that a client has asked for by their own name: visible
}

// RemoveMoved returns the change after which names no longer mean their images. The runtime
// still has these under the stored references.
func RemoveMoved(names ...Entry) Change {
	var moved Change
	for _, name := range names {
		moved.RemoveNames = append(moved.RemoveNames, name.Original)
		if name.hidesStored() {
			moved.Leftover = append(moved.Leftover, name.stored())
		}
	}
	return moved
}

// Apply makes a change. If it returns an error, the change is in force but not on
// disk; saving is retried.
func (l *Ledger) Apply(wanted Change) error {
	return l.edit(func() {
		for _, original := range wanted.RemoveNames {
			l.removeName(original)
		}
		now := time.Now()
		for _, name := range wanted.SetNames {
			name.At = now
			l.setName(name)
		}
		for _, left := range wanted.Leftover {
			l.addLeftover(left, now)
		}
		for _, hidden := range wanted.Hide {
			l.hide(hidden, now)
		}
		for _, asked := range wanted.Show {
			l.markAsked(asked, now)
		}
		l.evict()
	})
}

// ForgetImage drops all records of an image that the runtime did not have at a time. Later
// records stay.
func (l *Ledger) ForgetImage(image string, at time.Time) error {
	return l.edit(func() {
		for _, original := range slices.Clone(l.images[image]) {
			if !l.names[original].At.After(at) {
				l.removeName(original)
			}
		}
		l.clear(at, func(_, on string) bool { return on == image })
	})
}

// DropName removes a name whose image has lost the references that came with it. If it
// was the last name, all references of the image become visible.
func (l *Ledger) DropName(original string) error {
	return l.edit(func() {
		image := l.names[original].Image
		l.removeName(original)
		if len(l.images[image]) == 0 {
			l.clear(time.Now(), func(_, on string) bool { return on == image })
		}
	})
}

// Settle drops names of an image that the runtime has itself, and what is recorded of
// references that the image has lost. Without other names it also drops what is recorded of
// references in repositories that are settled.
func (l *Ledger) Settle(image *runtime.Image, named, settled []string) error {
	return l.edit(func() {
		for _, original := range named {
			name := l.names[original]
			l.removeName(original)
			if name.hidesStored() && imagename.Has(image, name.Stored) && !slices.Contains(settled, imagename.Repository(name.Stored)) {
				l.addLeftover(name.stored(), time.Now())
			}
		}
		all := len(l.images[image.Id]) == 0
		l.clear(time.Now(), func(reference, on string) bool {
			return on == image.Id && (!imagename.Has(image, reference) || slices.Contains(named, reference) ||
				all && slices.Contains(settled, imagename.Repository(reference)))
		})
	})
}

// edit changes the ledger and saves it if that made a difference.
func (l *Ledger) edit(change func()) error {
	l.mutex.Lock()
	before := l.version
	change()
	version := l.version
	l.mutex.Unlock()
	if version == before {
		return nil
	}
	return l.file.save(version, l.snapshot)
}

// saveAll saves the changes that are not on disk yet.
func (l *Ledger) saveAll() error {
	l.mutex.RLock()
	version := l.version
	l.mutex.RUnlock()
	return l.file.save(version, l.snapshot)
}
