package rewrite

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/distribution/reference"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Lookup knows the configured registries. It is safe for concurrent use.
type Lookup interface {
	// Candidates returns the references under which the registries would have name,
	// the best registry first. It asks no registry.
	Candidates(name reference.Named) []Candidate

	// Find asks the registries which of them has name and yields their answers
	// in the order that they are to be pulled from. It must not keep the caller much longer than
	// one look-up may take, nor at all once ctx is done.
	Find(ctx context.Context, name reference.Named) iter.Seq[Answer]

	// MayFallBack reports whether an image may be pulled from the registry in its
	// name if no candidate could serve it. name is nil for a string that is no name,
	// such as an image's ID.
	MayFallBack(name reference.Named) bool

	// Pulled is called when a candidate was found and pulled.
	Pulled(candidate Candidate)

	// Failed is called when the runtime could not pull a candidate that was
	// found: a remembered answer about it may be wrong. stalled is how long
	// the pull ran if it was ended for taking too long, and 0 otherwise.
	Failed(candidate Candidate, stalled time.Duration)
}

// Candidate is one registry's reference for an image.
type Candidate struct {
	Registry  string // the registry's address, for people
	Reference string // canonical
	// MayBePreloaded reports whether an image that is on the node under Reference alone
	// counts as the original: the original is docker.io's, or a pattern in the registry's
	// match names it.
	MayBePreloaded bool
}

// Credentials log in to the registry of an [Answer], with a password or with one of the
// tokens. The zero value means none.
type Credentials struct {
	Username      string
	Password      string `json:"-"`
	IdentityToken string `json:"-"`
	RegistryToken string `json:"-"`
	ServerAddress string // scheme://host: containerd drops credentials whose address has no scheme
}

// Format prints the credentials without their secrets.
func (c Credentials) Format(state fmt.State, _ rune) {
	switch {
	case c == (Credentials{}):
		_, _ = fmt.Fprint(state, "no credentials")
	case c.IdentityToken != "" || c.RegistryToken != "":
		_, _ = fmt.Fprintf(state, "a token at %s", c.ServerAddress)
	default:
		_, _ = fmt.Fprintf(state, "%s at %s", c.Username, c.ServerAddress)
	}
}

// auth is what a runtime is given to log in with: nil without credentials.
// containerd prefers a user name to an identity token (its ParseAuth), and only
// the token is of use where there is one.
func (c Credentials) auth() *runtime.AuthConfig {
	switch {
	case c == (Credentials{}):
		return nil
	case c.RegistryToken != "":
		return &runtime.AuthConfig{RegistryToken: c.RegistryToken, ServerAddress: c.ServerAddress}
	case c.IdentityToken != "":
		return &runtime.AuthConfig{IdentityToken: c.IdentityToken, ServerAddress: c.ServerAddress}
	default:
		return &runtime.AuthConfig{Username: c.Username, Password: c.Password, ServerAddress: c.ServerAddress}
	}
}

// Answer is what one registry said of its candidate.
type Answer struct {
	Candidate
	Found       bool
	Absent      bool        // it says that it does not have it; if not Found either, it could not be asked
	Digest      string      // of the manifest, where Found; may be empty
	Credentials Credentials // where Found
	LastResort  bool        // where Found: to be pulled after the original registry
	Reason      string      // why not found, or why a last resort, in a few words and without secrets
}
