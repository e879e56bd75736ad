package registry

import (
	"time"

	"image-cri-shim/registry/keychain"
)

// Credentials log in to the registry of an [Answer]. The zero value means that none are
// configured for it.
type Credentials = keychain.Credentials

// State is whether a registry has an image.
type State int

const (
	Unknown State = iota // it could not be asked
	Found
	Absent // it says that it does not have it
)

// String says it for people.
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

// Answer is what a registry said about its [Candidate].
type Answer struct {
	Candidate
	State       State
	Digest      string        // of the manifest; where Found
	Credentials Credentials   // for the pull; where Found
	Err         error         // why Unknown: one line of at most 200 bytes, without secrets
	Postponed   string        // where Found: why it comes after the others; empty if it does not
	LastResort  bool          // where Found: it is to be pulled after the original registry
	Duration    time.Duration // of the look-up
	Cached      bool          // remembered, or withheld by an open circuit: no request was sent
}

// recall makes it the answer that was found before. The credentials count where
// the image was Found.
func (a *Answer) recall(remembered cachedAnswer, credentials Credentials) {
	a.State, a.Digest, a.Cached = remembered.state, remembered.digest, true
	if a.State == Found {
		a.Credentials = credentials
	}
}
