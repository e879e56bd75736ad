package rewrite

import (
	"context"
	"fmt"
	"iter"

	"github.com/distribution/reference"
)

// Lookup knows the configured registries. It is safe for concurrent use.
type Lookup interface {
	// Candidates are the references under which the registries would have name,
	// the best registry first. It asks nobody.
	Candidates(name reference.Named) []Candidate

	// Find asks the registries which of them has name and yields their answers,
	// the best registry first. It must not keep the caller much longer than
	// one look-up may take, nor at all once ctx is done.
	Find(ctx context.Context, name reference.Named) iter.Seq[Answer]

	// MayFallBack tells whether an image may be pulled from the registry in its
	// name where no candidate could serve it. name is nil for an image that has
	// no candidates, such as one named by its ID.
	MayFallBack(name reference.Named) bool

	// Forget is told of a candidate that was found and that the runtime could
	// not pull: what is remembered of it is not to be trusted.
	Forget(candidate Candidate)
}

// Candidate is one registry's reference for an image.
type Candidate struct {
	Registry    string // the registry's address, for people
	Reference   string // canonical
	Credentials Credentials
}

// Credentials log in to the registry of a [Candidate]. The zero value means none.
type Credentials struct {
	Username, Password string
	ServerAddress      string // scheme://host: containerd drops credentials whose address has no scheme
}

// Format keeps the password out of whatever prints the credentials.
func (c Credentials) Format(state fmt.State, _ rune) {
	if c == (Credentials{}) {
		_, _ = fmt.Fprint(state, "no credentials")
		return
	}
	_, _ = fmt.Fprintf(state, "%s at %s", c.Username, c.ServerAddress)
}

// Answer is what one registry said of its candidate.
type Answer struct {
	Candidate
	Found  bool
	Absent bool   // it says that it does not have it; if not Found either, it could not be asked
	Reason string // why not found, in a few words and without secrets
}
