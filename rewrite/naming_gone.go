package rewrite

import (
	"slices"
	"strings"
	"time"

	"image-cri-shim/rewrite/imagename"
)

// An answer of the runtime may have been made before a name was deleted, and reach the shim
// after that. The deleted names are remembered for a while, with the names that came in
// their place.

// goneTime is how long deleted names are remembered: longer than an answer takes.
const goneTime = 2 * time.Second

// goneName is a registry's name that has just been deleted.
type goneName struct {
	by []string  // the names in its place
	at time.Time // when CRI no longer showed it; zero before
}

// after reports whether the name may be in the answer to a call that began at a time.
func (n goneName) after(began time.Time) bool { return n.at.IsZero() || began.Before(n.at) }

// forgo remembers a name that is about to be deleted.
func (g *gate) forgo(name string, by []string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.gone[name] = goneName{by: by}
}

// replaces reports whether there are names that may have to be replaced in answers.
func (g *gate) replaces() bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.gone) > 0 {
		now := time.Now()
		for name, gone := range g.gone {
			if !gone.at.IsZero() && now.Sub(gone.at) > goneTime {
				delete(g.gone, name)
			}
		}
	}
	return len(g.repositories) > 0 || len(g.excluded) > 0 || len(g.gone) > 0
}

// haveGone notes that CRI no longer shows the deleted names of a repository. The caller holds
// the mutex.
func (g *gate) haveGone(in string) {
	for name, gone := range g.gone {
		if gone.at.IsZero() && imagename.Repository(name) == in {
			gone.at = time.Now()
			g.gone[name] = gone
		}
	}
}

// comeBack forgets deleted names of a repository: a client asks for one of them by itself.
func (g *gate) comeBack(in string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for name := range g.gone {
		if imagename.Repository(name) == in {
			delete(g.gone, name)
		}
	}
}

// forgo remembers a name that is about to be deleted after pulls from its repository.
func (n *Namer) forgo(name string) {
	by, _ := n.gate.replaced(name, nil, time.Time{})
	n.gate.forgo(name, by)
}

// forgoLedgered remembers a name of an image that is about to be deleted because the runtime
// has got those that the ledger had for it.
func (n *Namer) forgoLedgered(image, name string) {
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
	n.gate.forgo(name, slices.Compact(by))
}
