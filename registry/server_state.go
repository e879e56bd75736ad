package registry

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	renewalInterval = time.Minute // between renewals of logins that a registry refuses
	getPeriod       = time.Hour   // of using GET with a registry that refuses HEAD
)

// serverState is the behaviour of a registry that its clients have learned. They share it
// whatever their logins.
type serverState struct {
	isRegistry atomic.Bool // it has answered as a registry

	mu       sync.Mutex
	renewed  time.Time // when its logins were last renewed
	getUntil time.Time // manifests are asked for by GET until then
}

// allowRenewal reports whether a refused login may be renewed now, and records the
// renewal.
func (s *serverState) allowRenewal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.renewed.IsZero() && now.Sub(s.renewed) < renewalInterval {
		return false
	}
	s.renewed = now
	return true
}

// prefersGet reports whether the registry refuses HEAD.
func (s *serverState) prefersGet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.getUntil)
}

// recordHeadRefused records that the registry answers GET and refuses HEAD.
func (s *serverState) recordHeadRefused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.getUntil = time.Now().Add(getPeriod)
}
