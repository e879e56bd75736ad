package rewrite

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/distribution/reference"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Lookup looks up images in the configured registries. Implementations must be safe for
// concurrent use.
type Lookup interface {
	// Candidates returns the references that the registries would have for name, in the
	// order of priority. It does no I/O.
	Candidates(name reference.Named) []Candidate

	// Find asks the registries for name, and yields their answers in the order in which the
	// shim must pull from them. It must not take much longer than one lookup, and must
	// return promptly when ctx is done.
	Find(ctx context.Context, name reference.Named) iter.Seq[Answer]

	// MayFallBack reports whether an image may be pulled from its original registry if no
	// candidate serves it. name is nil for a string that is not a name, such as an image ID.
	MayFallBack(name reference.Named) bool

	// Pulled is called when the runtime has pulled a candidate that was found.
	Pulled(candidate Candidate)

	// Failed is called when the runtime has failed to pull a candidate that was found, so
	// that a cached answer about it may be wrong. stalled is how long the pull ran if it
	// stalled, and otherwise 0.
	Failed(candidate Candidate, stalled time.Duration)
}

// Candidate is a registry's reference for an image.
type Candidate struct {
	Registry  string // address of the registry, for display
	Reference string // canonical reference
	// MayBePreloaded reports whether an image that the node has only under Reference counts
	// as the original. This is so if the original is on docker.io, or if a pattern in the
	// registry's match fits it.
	MayBePreloaded bool
}

// Credentials are the login for the registry of an [Answer]: a password or one of the tokens.
// The zero value means no credentials.
type Credentials struct {
	Username      string
	Password      string `json:"-"`
	IdentityToken string `json:"-"`
	RegistryToken string `json:"-"`
	ServerAddress string // scheme://host; containerd ignores credentials for an address without a scheme
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

// auth returns the credentials for a request to the runtime, or nil if there are none. If there
// is a token, auth omits the user name, because containerd prefers it to an identity token
// (ParseAuth).
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

// Answer is the result of a lookup in one registry. If neither Found nor Absent is set, the
// lookup has failed.
type Answer struct {
	Candidate
	Found  bool // the registry has the image
	Absent bool // the registry does not have the image

	// The following are set only if Found is set.
	Digest      string // digest of the manifest; may be empty
	Credentials Credentials
	LastResort  bool // pull from this registry after the original registry

	// Reason says why the image was not found, or why the registry is a last resort. It is a
	// short text without secrets.
	Reason string
}
