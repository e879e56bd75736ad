package ledger

import (
	"sync"
	"time"
)

// Backoff between the retries of a failed save.
const (
	minBackoff = time.Second
	maxBackoff = time.Minute
)

// retry calls a function again after a failure, with an increasing backoff. The zero value
// is ready to use.
type retry struct {
	mutex   sync.Mutex
	timer   *time.Timer
	backoff time.Duration // backoff of the last scheduled call; 0 after a success
	running sync.WaitGroup
	stopped bool
}

// failed schedules a call of again, unless a call is already scheduled or stop was called.
func (r *retry) failed(again func()) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.stopped || r.timer != nil {
		return
	}
	r.backoff = min(max(2*r.backoff, minBackoff), maxBackoff)
	r.timer = time.AfterFunc(r.backoff, func() {
		if r.begin() {
			defer r.running.Done()
			again()
		}
	})
}

// begin reports whether the scheduled call may run. If so, it counts the call as running.
func (r *retry) begin() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.stopped || r.timer == nil {
		return false
	}
	r.timer = nil
	r.running.Add(1)
	return true
}

// succeeded cancels the scheduled call and resets the backoff.
func (r *retry) succeeded() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.backoff = 0
}

// stop cancels the scheduled call and waits for a running one.
func (r *retry) stop() {
	r.mutex.Lock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.mutex.Unlock()
	r.running.Wait()
}
