package ledger

import (
	"maps"
	"slices"
	"time"
)

// Container is what the ledger records of a container whose image was given by a name that
// the shim replaced by the image's ID, which the runtime shows in its answers, or whose
// image has the names of several originals.
type Container struct {
	ID        string    `json:"container"` // its ID
	Asked     string    `json:"asked"`     // as the client wrote it
	Sent      string    `json:"sent"`      // the ID that the runtime was given
	Specified string    `json:"specified"` // user_specified_image
	at        time.Time // of the creation
}

// Container returns what is recorded of a container.
func (l *Ledger) Container(container string) (Container, bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	c, ok := l.containers[container]
	return c, ok
}

// HasContainers reports whether any container is recorded.
func (l *Ledger) HasContainers() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.containers) > 0
}

// RecordContainer records the image that a container was asked to be made of.
func (l *Ledger) RecordContainer(c Container) error {
	c.at = time.Now()
	return l.edit(func() {
		l.version++
		l.containers[c.ID] = c
		l.evict()
	})
}

// ReconcileContainers drops the containers that are missing from a list of all
// containers, unless they were created after the list was asked for.
func (l *Ledger) ReconcileContainers(listed map[string]bool, at time.Time) error {
	return l.edit(func() {
		for id, c := range l.containers {
			if !listed[id] && !c.at.After(at) {
				l.version++
				delete(l.containers, id)
			}
		}
	})
}

// evictContainers drops the containers that were created longest ago if there are too
// many. It is called with the mutex held.
func (l *Ledger) evictContainers() {
	if len(l.containers) <= l.limit {
		return
	}
	oldest := slices.SortedFunc(maps.Values(l.containers), func(a, b Container) int { return a.at.Compare(b.at) })
	for _, c := range oldest[:len(oldest)-l.limit*9/10] {
		l.version++
		delete(l.containers, c.ID)
	}
}
