package registry

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	renewalPause = time.Minute // between two renewals of logins that a registry refuses
	getTime      = time.Hour   // how long a registry that refuses HEAD is asked by GET
)

// habits are what a registry has shown of itself, with whatever login.
type habits struct {
	registry atomic.Bool // it has answered as a registry does

	mu       sync.Mutex
	renewed  time.Time // when its logins were renewed last
	getUntil time.Time // it is asked by GET
}

// renews reports whether a login that the registry refuses may be renewed now, and
// notes that it is.
func (h *habits) renews() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if !h.renewed.IsZero() && now.Sub(h.renewed) < renewalPause {
		return false
	}
	h.renewed = now
	return true
}

// wantsGet reports whether the registry refuses HEAD.
func (h *habits) wantsGet() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.getUntil)
}

// refusesHead notes that the registry answers GET and refuses HEAD.
func (h *habits) refusesHead() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.getUntil = time.Now().Add(getTime)
}
