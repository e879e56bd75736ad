package naming

import (
	"slices"
	"strings"
	"time"

	"image-cri-shim/rewrite/imagename"
)

// The runtime may produce an answer before a name is deleted, and the shim may receive it
// after that. The gate therefore stores deleted names for a while, with the names that
// replace them.

// deletedTTL is how long the gate stores deleted names. It is longer than an answer takes.
const deletedTTL = 2 * time.Second

// deletedName is a registry's name that was just deleted.
type deletedName struct {
	replacements []string  // names that clients see instead
	at           time.Time // when the CRI stopped showing the name; zero before that
}

// mayShow reports whether the answer to a call that began at the time began may show the
// name.
func (n deletedName) mayShow(began time.Time) bool { return n.at.IsZero() || began.Before(n.at) }

// addDeleted records a name that is about to be deleted, and its replacements.
func (g *gate) addDeleted(name string, by []string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.deleted[name] = deletedName{replacements: by}
}

// replaces reports whether answers may contain names that must be replaced. It also drops
// expired deleted names.
func (g *gate) replaces() bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.deleted) > 0 {
		now := time.Now()
		for name, gone := range g.deleted {
			if !gone.at.IsZero() && now.Sub(gone.at) > deletedTTL {
				delete(g.deleted, name)
			}
		}
	}
	return len(g.repositories) > 0 || len(g.excluded) > 0 || len(g.deleted) > 0
}

// markDeleted records that the CRI no longer shows the deleted names of a repository. The
// caller holds the mutex.
func (g *gate) markDeleted(in string) {
	for name, gone := range g.deleted {
		if gone.at.IsZero() && imagename.Repository(name) == in {
			gone.at = time.Now()
			g.deleted[name] = gone
		}
	}
}

// forgetDeleted forgets the deleted names of a repository. It is called when a client pulls
// one of them by its own name.
func (g *gate) forgetDeleted(in string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for name := range g.deleted {
		if imagename.Repository(name) == in {
			delete(g.deleted, name)
		}
	}
}

// recordDeletion records a name that is about to be deleted after pulls from its repository.
func (n *Namer) recordDeletion(name string) {
	by, _ := n.gate.replacements(name, nil, time.Time{})
	n.gate.addDeleted(name, by)
}

// recordLedgerDeletion records a name of an image that is about to be deleted because the
// names in the ledger were created in the runtime.
func (n *Namer) recordLedgerDeletion(image, name string) {
	var by []string
	_, digest, digested := strings.Cut(name, "@")
	for _, e := range n.ledger.NamesOf(image) {
		switch {
		case e.Stored == name:
			by = append(by, e.Original)
		case digested && imagename.Repository(e.Stored) == imagename.Repository(name):
			by = append(by, imagename.Repository(e.Original)+"@"+digest)
		}
	}
	slices.Sort(by)
	n.gate.addDeleted(name, slices.Compact(by))
}
