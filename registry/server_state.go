package registry

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	renewalInterval = time.Minute // minimum between renewals of refused logins
	getPeriod       = time.Hour   // how long GET is used after a registry refused HEAD
)

// serverState records the observed behaviour of a registry. All clients of the registry
// share it.
type serverState struct {
	isRegistry atomic.Bool // a response has shown that it is a registry

	mu       sync.Mutex
	renewed  time.Time // last renewal of logins
	getUntil time.Time // end of using GET for manifests
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
