package rewrite

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"time"
)

// Ledger remembers which image was pulled under which name, where the runtime
// itself has it under another: a name is an original reference, and the image
// is known by its ID, so that a stored reference may move on to another image
// as the registry's tag does. It also remembers which references of an image
// nobody is to see, because the shim has put them there.
//
// Each change is on disk before the call that makes it is answered. It is safe
// for concurrent use.
type Ledger struct {
	file  *ledgerFile
	limit int // names kept

	mutex   sync.RWMutex
	version uint64              // counts the changes
	names   map[string]entry    // by original
	images  map[string][]string // the originals by image ID, in the order they came
	hidden  map[string]string   // image ID by the stored reference that is hidden on it
	domains map[string]int      // of the hidden references: how many

	announced map[string]int // pulls under way by stored reference; not on disk
}

// entry says which image an original reference means.
type entry struct {
	Original string    `json:"original"`
	Image    string    `json:"image"`              // its ID
	Stored   string    `json:"stored"`             // what the runtime was asked for when it was pulled
	Registry string    `json:"registry,omitempty"` // the address of the registry that served it, for people
	At       time.Time `json:"at"`                 // set by the ledger
}

// hiding says that a reference is not to be seen on an image.
type hiding struct {
	Reference string `json:"reference"`
	Image     string `json:"image"`
}

// change is what happens to the ledger at once, in the order of the fields.
type change struct {
	Unname []string // originals that the runtime now has under their own name, or no more
	Show   []string // references that are no longer hidden
	Name   []entry
	Hide   []hiding
}

// ledgerLimit bounds the names: far more than a node has images.
const ledgerLimit = 20_000

func newLedger(file *ledgerFile) *Ledger {
	return &Ledger{
		file:    file,
		limit:   ledgerLimit,
		names:   make(map[string]entry),
		images:  make(map[string][]string),
		hidden:  make(map[string]string),
		domains: make(map[string]int),

		announced: make(map[string]int),
	}
}

// Names is how many image names it knows.
func (l *Ledger) Names() int {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names)
}

// lookup returns what the ledger has for an original.
func (l *Ledger) lookup(original string) (entry, bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	name, ok := l.names[original]
	return name, ok
}

// namesOf returns the names of an image, in the order they came.
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

// imageIDs returns the IDs of the images that have names.
func (l *Ledger) imageIDs() []string {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return slices.Sorted(maps.Keys(l.images))
}

// isHidden tells whether a reference is not to be seen on an image: the shim has
// put it there, or is about to.
func (l *Ledger) isHidden(reference, image string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	on, ok := l.hidden[reference]
	return ok && on == image || l.announced[reference] > 0
}

// isAnnounced tells whether a pull of the reference is under way.
func (l *Ledger) isAnnounced(reference string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.announced[reference] > 0
}

// announce notes that a pull of the reference begins, and tells whether it is
// the only one. Every announce needs a withdraw.
func (l *Ledger) announce(reference string) (alone bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.announced[reference]++
	return l.announced[reference] == 1
}

// withdraw notes that a pull of the reference has ended.
func (l *Ledger) withdraw(reference string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.announced[reference]--; l.announced[reference] == 0 {
		delete(l.announced, reference)
	}
}

// hiddenOn returns the image that a reference is hidden on.
func (l *Ledger) hiddenOn(reference string) (image string, ok bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	image, ok = l.hidden[reference]
	return image, ok
}

// empty tells whether no answer of the runtime can need a change.
func (l *Ledger) empty() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) == 0 && len(l.hidden) == 0 && len(l.announced) == 0
}

// mentioned tells whether a message can contain a hidden reference: whether the
// host of one occurs in it. It looks at the bytes only.
func (l *Ledger) mentioned(message []byte) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	for domain := range l.domains {
		if bytes.Contains(message, []byte(domain)) {
			return true
		}
	}
	return false
}

// apply makes a change. An error says that it is in force but not on disk.
func (l *Ledger) apply(wanted change) error {
	return l.edit(func() {
		for _, original := range wanted.Unname {
			l.unname(original)
		}
		for _, reference := range wanted.Show {
			l.show(reference)
		}
		now := time.Now()
		for _, name := range wanted.Name {
			name.At = now
			l.name(name)
		}
		for _, hidden := range wanted.Hide {
			l.hide(hidden)
		}
		l.evict()
	})
}

// forget drops all about an image that the runtime did not have at a time. What
// has been recorded since stays.
func (l *Ledger) forget(image string, at time.Time) error {
	return l.edit(func() {
		for _, original := range slices.Clone(l.images[image]) {
			if !l.names[original].At.After(at) {
				l.unname(original)
			}
		}
		if len(l.images[image]) == 0 {
			l.showAll(image)
		}
	})
}

// drop removes a name whose image has lost the references that came with it. If
// it was the last name, the image shows what the runtime calls it.
func (l *Ledger) drop(original string) error {
	return l.edit(func() {
		image := l.names[original].Image
		l.unname(original)
		if len(l.images[image]) == 0 {
			l.showAll(image)
		}
	})
}

// edit changes the ledger and puts it on disk if that made a difference.
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

// The following are called with the mutex held, and count what they change.

func (l *Ledger) name(name entry) {
	l.version++
	if old, ok := l.names[name.Original]; ok && old.Image == name.Image {
		l.names[name.Original] = name
		return
	}
	l.unname(name.Original)
	l.names[name.Original] = name
	l.images[name.Image] = append(l.images[name.Image], name.Original)
}

func (l *Ledger) unname(original string) {
	old, ok := l.names[original]
	if !ok {
		return
	}
	l.version++
	delete(l.names, original)
	l.images[old.Image] = slices.DeleteFunc(l.images[old.Image], func(o string) bool { return o == original })
	if len(l.images[old.Image]) == 0 {
		delete(l.images, old.Image)
	}
}

func (l *Ledger) hide(hidden hiding) {
	if on, ok := l.hidden[hidden.Reference]; ok {
		if on == hidden.Image {
			return
		}
		l.show(hidden.Reference)
	}
	l.version++
	l.hidden[hidden.Reference] = hidden.Image
	l.domains[domain(hidden.Reference)]++
}

func (l *Ledger) show(reference string) {
	if _, ok := l.hidden[reference]; !ok {
		return
	}
	l.version++
	delete(l.hidden, reference)
	host := domain(reference)
	if l.domains[host]--; l.domains[host] == 0 {
		delete(l.domains, host)
	}
}

func (l *Ledger) showAll(image string) {
	for reference, on := range l.hidden {
		if on == image {
			l.show(reference)
		}
	}
}

// evict keeps the ledger within its limit. It drops the images that were named
// longest ago, until a tenth is free, and what is hidden on images without a
// name: they show what the runtime calls them until they are asked for again.
func (l *Ledger) evict() {
	if len(l.names) <= l.limit && len(l.hidden) <= 2*l.limit {
		return
	}
	newest := func(image string) time.Time {
		var at time.Time
		for _, original := range l.images[image] {
			if named := l.names[original].At; named.After(at) {
				at = named
			}
		}
		return at
	}
	for _, image := range slices.SortedFunc(maps.Keys(l.images), func(a, b string) int { return newest(a).Compare(newest(b)) }) {
		if len(l.names) <= l.limit*9/10 {
			break
		}
		for _, original := range slices.Clone(l.images[image]) {
			l.unname(original)
		}
	}
	for reference, image := range l.hidden {
		if len(l.images[image]) == 0 {
			l.show(reference)
		}
	}
}
