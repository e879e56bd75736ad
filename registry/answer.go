package registry

import (
	"time"

	"image-cri-shim/registry/keychain"
)

// Credentials is the login for the registry of an [Answer]. The zero value means that no
// credentials are configured.
type Credentials = keychain.Credentials

// State reports whether a registry has an image.
type State int

const (
	Unknown State = iota // the registry could not be asked
	Found
	Absent // the registry answered that it does not have the image
)

// String returns the state as it is shown to users.
func (s State) String() string {
	switch s {
	case Found:
		return "found"
	case Absent:
		return "absent"
	default:
		return "could not ask"
	}
}

// Answer is the result of looking up a [Candidate] in its registry.
type Answer struct {
	Candidate
	State       State
	Digest      string        // digest of the manifest, if Found
	Credentials Credentials   // for the pull, if Found
	Err         error         // reason for Unknown: one line of at most 200 bytes, without secrets
	Postponed   string        // if Found: why the candidate comes after the others; empty if it does not
	LastResort  bool          // if Found: try the original registry before this candidate
	Duration    time.Duration // of the lookup
	Cached      bool          // no request was sent: the answer was cached, or the circuit is open
	Asked       time.Time     // if the answer was cached: when the registry gave it
	Expires     time.Time     // if the answer was cached: when it is no longer used
}

// recall fills in a cached answer. The credentials are set only if the image was Found.
func (a *Answer) recall(remembered cachedAnswer, credentials Credentials) {
	a.State, a.Digest, a.Cached = remembered.state, remembered.digest, true
	a.Asked, a.Expires = remembered.asked, remembered.expires
	if a.State == Found {
		a.Credentials = credentials
	}
}
