package rewrite

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// Ledger records which image an original reference means, if the runtime has the
// image under another reference. Images are identified by their IDs, because a
// registry's tag may move to another image.
//
// It also records which references the shim's pulls have put on an image, and which
// of these a client has asked for by their own names. Which references are hidden
// follows from that; see [placement].
//
// A change is on disk before the call that makes it is answered. A Ledger is safe for
// concurrent use.
type Ledger struct {
	file  *ledgerFile
	limit int // names kept

	// recording is held while a pull's records are derived from those that there are, and
	// made: a pull of the stored reference by its own name may end at the same time.
	recording sync.Mutex

	mutex      sync.RWMutex
	version    uint64                          // counts the changes
	names      map[string]entry                // by original
	images     map[string][]string             // originals by image ID, in the order of recording
	placements map[string]map[string]placement // by reference, then by image ID
	placed     int                             // placements, of all references
	domains    map[string]int                  // number of hidden references by their hosts
	unstored   int                             // names that the runtime has no reference for
	containers map[string]creation             // by container ID
	pulls      map[string]*activePulls         // in progress, by stored reference; not on disk
}

// entry says which image an original reference means.
type entry struct {
	Original string    `json:"original"`
	Image    string    `json:"image"`              // its ID
	Stored   string    `json:"stored"`             // the reference that the image was pulled or found under
	Registry string    `json:"registry,omitempty"` // address of the registry that served it, for people
	At       time.Time `json:"at"`                 // set by the ledger
	// Preloaded is set if no pull of the shim has put Stored on the image: the image
	// was found under it, and Stored stays visible.
	Preloaded bool `json:"preloaded,omitempty"`
	// Lost is set once the runtime no longer has the image under Stored. If it has again,
	// another client has put it there.
	Lost bool `json:"lost,omitempty"`
}

// change is one update of the ledger. The fields are applied in their order.
type change struct {
	RemoveNames []string   // originals that mean no image any more, or that the runtime has under their own name
	SetNames    []entry    // names that mean another image now, or the same one as another reference
	Leftover    []imageRef // stored references of names that mean another image now: still hidden, unless shown
	Hide        []imageRef // references that a pull has put on an image, or that now mean another image
	Show        []imageRef // references that a client has asked for by their own name: visible
}

// removeMoved returns the change after which names no longer mean their images. The runtime
// still has these under the stored references.
func removeMoved(names ...entry) change {
	var moved change
	for _, name := range names {
		moved.RemoveNames = append(moved.RemoveNames, name.Original)
		if name.hidesStored() {
			moved.Leftover = append(moved.Leftover, name.stored())
		}
	}
	return moved
}

// ledgerLimit bounds the names. It is far above the number of images on a node.
const ledgerLimit = 20_000

func newLedger(file *ledgerFile) *Ledger {
	return &Ledger{
		file:       file,
		limit:      ledgerLimit,
		names:      make(map[string]entry),
		images:     make(map[string][]string),
		placements: make(map[string]map[string]placement),
		domains:    make(map[string]int),
		containers: make(map[string]creation),
		pulls:      make(map[string]*activePulls),
	}
}

// Names returns the number of image names in the ledger.
func (l *Ledger) Names() int {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names)
}

// lookup returns the entry of an original.
func (l *Ledger) lookup(original string) (entry, bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	name, ok := l.names[original]
	return name, ok
}

// namesOf returns the names of an image, in the order of recording.
func (l *Ledger) namesOf(image string) []entry {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	originals := l.images[image]
	names := make([]entry, len(originals))
	for i, original := range originals {
		names[i] = l.names[original]
	}
	return names
}

// imageIDs returns the IDs of the images that have names or hidden references.
func (l *Ledger) imageIDs() []string {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	images := slices.Collect(maps.Keys(l.images))
	for _, on := range l.placements {
		for image, p := range on {
			if p.hidden() {
				images = append(images, image)
			}
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// hidesAny reports whether a reference is hidden on an image.
func (l *Ledger) hidesAny(image string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	for _, on := range l.placements {
		if on[image].hidden() {
			return true
		}
	}
	return false
}

// needsStored reports whether names of an image, other than original, are stored under a
// reference that a pull has put there.
func (l *Ledger) needsStored(reference, image, original string) bool {
	return slices.ContainsFunc(l.namesOf(image), func(name entry) bool {
		return name.Original != original && name.Stored == reference && name.hidesStored()
	})
}

// isShared reports whether several names of an image are stored under one reference.
func (l *Ledger) isShared(image string) bool {
	seen := make(map[string]bool)
	for _, name := range l.namesOf(image) {
		if seen[name.Stored] && name.hidesStored() {
			return true
		}
		seen[name.Stored] = true
	}
	return false
}

// mayRestore reports whether an answer of the runtime may need a change. Records of
// references that were asked for by their own name change no answer.
func (l *Ledger) mayRestore() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) > 0 || len(l.domains) > 0 || len(l.pulls) > 0 || len(l.containers) > 0
}

// hasNames reports whether the ledger has names of images or hides references.
func (l *Ledger) hasNames() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) > 0 || len(l.domains) > 0 || len(l.pulls) > 0
}

// isEmpty reports whether the ledger has no records of images.
func (l *Ledger) isEmpty() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) == 0 && len(l.placements) == 0 && len(l.pulls) == 0
}

// mentions reports whether a message may need a change: the host of a hidden reference
// occurs in it, or there are names that the runtime has no reference for. It looks at the
// bytes only.
func (l *Ledger) mentions(message []byte) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	for host := range l.domains {
		if bytes.Contains(message, []byte(host)) {
			return true
		}
	}
	if l.unstored > 0 {
		return true // an image may be shown without the host
	}
	for reference := range l.pulls {
		if bytes.Contains(message, []byte(imagename.Host(reference))) {
			return true
		}
	}
	return false
}

// apply makes a change. If it returns an error, the change is in force but not on
// disk; saving is retried.
func (l *Ledger) apply(wanted change) error {
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
			l.leave(left, now)
		}
		for _, hidden := range wanted.Hide {
			l.hide(hidden, now)
		}
		for _, asked := range wanted.Show {
			l.ask(asked, now)
		}
		l.evict()
	})
}

// forget drops all records of an image that the runtime did not have at a time. Later
// records stay.
func (l *Ledger) forget(image string, at time.Time) error {
	return l.edit(func() {
		for _, original := range slices.Clone(l.images[image]) {
			if !l.names[original].At.After(at) {
				l.removeName(original)
			}
		}
		l.clear(at, func(_, on string) bool { return on == image })
	})
}

// drop removes a name whose image has lost the references that came with it. If it
// was the last name, all references of the image become visible.
func (l *Ledger) drop(original string) error {
	return l.edit(func() {
		image := l.names[original].Image
		l.removeName(original)
		if len(l.images[image]) == 0 {
			l.clear(time.Now(), func(_, on string) bool { return on == image })
		}
	})
}

// settle drops names of an image that the runtime has itself, and what is recorded of
// references that the image has lost. Without other names it also drops what is recorded of
// references in repositories that are settled.
func (l *Ledger) settle(image *runtime.Image, named, settled []string) error {
	return l.edit(func() {
		for _, original := range named {
			name := l.names[original]
			l.removeName(original)
			if name.hidesStored() && imagename.Has(image, name.Stored) && !slices.Contains(settled, imagename.Repository(name.Stored)) {
				l.leave(name.stored(), time.Now())
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
