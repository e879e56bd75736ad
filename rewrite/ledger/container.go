package ledger

import (
	"maps"
	"slices"
	"time"
)

// Container records the image name of a container. For a container of nginx:1.25, the shim
// may send the image's ID in CreateContainer, and the runtime then shows this ID in its
// answers. The ledger also records a container if its image has several originals with one
// stored reference.
type Container struct {
	ID        string    `json:"container"` // container ID
	Asked     string    `json:"asked"`     // image in the client's request
	Sent      string    `json:"sent"`      // image in the request to the runtime
	Specified string    `json:"specified"` // user_specified_image
	at        time.Time // time of the creation
}

// Container returns the record of a container.
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

// RecordContainer adds the record of a container that was just created.
func (l *Ledger) RecordContainer(c Container) error {
	c.at = time.Now()
	return l.edit(func() {
		l.version++
		l.containers[c.ID] = c
		l.evict()
	})
}

// ReconcileContainers drops the recorded containers that are not in listed, except those
// created after the time at. listed has the IDs of all containers of the runtime, as
// requested at that time.
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

// evictContainers drops the oldest containers if there are too many. The caller holds the
// mutex.
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
