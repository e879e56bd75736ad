package ledger

import (
	"slices"
	"time"

	"image-cri-shim/rewrite/imagename"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Change is one update of the ledger. Its fields are applied in order.
type Change struct {
	// RemoveNames are originals that no longer mean an image, or that the runtime has itself.
	RemoveNames []string
	// SetNames are names with a new image or a new stored reference.
	SetNames []Entry
	// Leftover are stored references of names that now mean other images. They stay hidden
	// unless a client has asked for them.
	Leftover []ImageRef
	// Hide are references that a pull has stored on an image, or that now mean another image.
	// Unlike Leftover, they are hidden even if a client has asked for them before.
	Hide []ImageRef
	// Show are references that a client has asked for by their own names. They become
	// visible.
	Show []ImageRef
}

// RemoveMoved returns the change that removes names whose images the runtime still has under the
// stored references. These references become leftovers.
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

// Apply makes a change and saves the ledger. If saving fails, Apply returns the error, the
// change remains in force, and the save is retried in the background.
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

// ForgetImage drops all records of an image that the runtime did not have at the given time.
// Records made later stay.
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

// DropName removes a name because its image no longer has the references that the pull
// stored. If it was the last name of the image, all references of the image become visible.
func (l *Ledger) DropName(original string) error {
	return l.edit(func() {
		image := l.names[original].Image
		l.removeName(original)
		if len(l.images[image]) == 0 {
			l.clear(time.Now(), func(_, on string) bool { return on == image })
		}
	})
}

// Settle drops those names of an image that are listed in named, because the runtime has them
// itself, and the records of references that the image no longer has. settled are repositories in
// which the runtime's names are final. If no name of the image remains, Settle also drops the
// records of references in these repositories.
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

// edit calls change with the mutex held, and saves the ledger if change modified it.
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

// saveAll saves the ledger if it has changes that are not on disk.
func (l *Ledger) saveAll() error {
	l.mutex.RLock()
	version := l.version
	l.mutex.RUnlock()
	return l.file.save(version, l.snapshot)
}
