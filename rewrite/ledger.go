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
// Each change is on disk before the method that makes it returns. It is safe
// for concurrent use.
type Ledger struct {
	file  *ledgerFile
	limit int // names kept

	mutex   sync.RWMutex
	version uint64              // counts the changes
	names   map[string]Name     // by original
	images  map[string][]string // the originals by image ID, in the order they came
	hidden  map[string]string   // image ID by the stored reference that is hidden on it
	domains map[string]int      // of the hidden references: how many
}

// Name says which image an original reference means.
type Name struct {
	Original string    `json:"original"`
	Image    string    `json:"image"`              // its ID
	Stored   string    `json:"stored"`             // what the runtime was asked for when it was pulled
	Registry string    `json:"registry,omitempty"` // the address of the registry that served it, for people
	At       time.Time `json:"at"`
}

// Hidden says that an image has a reference that is not to be seen on it.
type Hidden struct {
	Reference string `json:"reference"`
	Image     string `json:"image"`
}

// Change is what happens to the ledger at once.
type Change struct {
	Unname []string // originals that the runtime now has under their own name, or no more
	Show   []string // references that are no longer hidden
	Name   []Name   // At is set by the ledger
	Hide   []Hidden
}

// ledgerLimit bounds the names: far more than a node has images.
const ledgerLimit = 20_000

func newLedger(file *ledgerFile) *Ledger {
	return &Ledger{
		file:    file,
		limit:   ledgerLimit,
		names:   make(map[string]Name),
		images:  make(map[string][]string),
		hidden:  make(map[string]string),
		domains: make(map[string]int),
	}
}

// Lookup returns what the ledger has for an original.
func (l *Ledger) Lookup(original string) (Name, bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	name, ok := l.names[original]
	return name, ok
}

// Names returns the names of an image, in the order they came.
func (l *Ledger) Names(image string) []Name {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	originals := l.images[image]
	names := make([]Name, len(originals))
	for i, original := range originals {
		names[i] = l.names[original]
	}
	return names
}

// Hidden tells whether a reference is not to be seen on an image.
func (l *Ledger) Hidden(reference, image string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	on, ok := l.hidden[reference]
	return ok && on == image
}

// HiddenOn returns the image that a reference is hidden on.
func (l *Ledger) HiddenOn(reference string) (image string, ok bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	image, ok = l.hidden[reference]
	return image, ok
}

// Empty tells whether no answer of the runtime can need a change.
func (l *Ledger) Empty() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) == 0 && len(l.hidden) == 0
}

// Mentioned tells whether a message can contain a hidden reference: whether the
// host of one occurs in it. It looks at the bytes only.
func (l *Ledger) Mentioned(message []byte) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	for domain := range l.domains {
		if bytes.Contains(message, []byte(domain)) {
			return true
		}
	}
	return false
}

// Apply makes a change. An error says that it is in force but not on disk.
func (l *Ledger) Apply(change Change) error {
	return l.edit(func() {
		for _, original := range change.Unname {
			l.unname(original)
		}
		for _, reference := range change.Show {
			l.show(reference)
		}
		now := time.Now()
		for _, name := range change.Name {
			name.At = now
			l.name(name)
		}
		for _, hidden := range change.Hide {
			l.hide(hidden)
		}
		l.evict()
	})
}

// Forget drops all about an image that the runtime no longer has.
func (l *Ledger) Forget(image string) error {
	return l.edit(func() {
		for _, original := range slices.Clone(l.images[image]) {
			l.unname(original)
		}
		for reference, on := range l.hidden {
			if on == image {
				l.show(reference)
			}
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

func (l *Ledger) name(name Name) {
	if old, ok := l.names[name.Original]; ok {
		if old.Image == name.Image && old.Stored == name.Stored && old.Registry == name.Registry {
			return
		}
		l.unname(name.Original)
	}
	l.version++
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

func (l *Ledger) hide(hidden Hidden) {
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

// evict keeps the ledger within its limit. It drops the oldest names, a tenth
// at once, and the hiding of references on images that have no name left: such
// images show what the runtime calls them until they are asked for again.
func (l *Ledger) evict() {
	if len(l.names) <= l.limit && len(l.hidden) <= 2*l.limit {
		return
	}
	if len(l.names) > l.limit {
		oldest := slices.SortedFunc(maps.Keys(l.names), func(a, b string) int {
			return l.names[a].At.Compare(l.names[b].At)
		})
		for _, original := range oldest[:len(oldest)-l.limit*9/10] {
			l.unname(original)
		}
	}
	for reference, image := range l.hidden {
		if len(l.images[image]) == 0 {
			l.show(reference)
		}
	}
}
