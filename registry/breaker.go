package registry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"image-cri-shim/printable"
)

const (
	overloadLimit = 3 // answers in a row that open a circuit
	probeDelayMin = time.Second
	probeDelayMax = 5 * time.Second // between two probes
	firstDelayMax = time.Minute     // before the first probe
	backoffFactor = 2               // of each delay to the one before
)

// breaker is the circuit of a registry. It is open while the registry is known to be
// down. Its methods may be called concurrently.
type breaker struct {
	notify func(open bool, reason string)

	transition sync.Mutex // held over a change and its notification, to keep these in order

	mu                sync.Mutex
	open              bool
	openedAt          time.Time
	closedAt          time.Time
	reason            string        // of the last opening
	answeredAt        time.Time     // when the last look-up was answered
	failingRepository string        // of the last look-up without an answer; empty once one is answered
	failedAt          time.Time     // when that look-up ended
	overloads         int           // in a row
	firstDelay        time.Duration // before the first probe of the last opening; 0 once a look-up has been answered
	delay             time.Duration // before the last probe of this opening; 0 before the first
}

// assessment is the conclusion from a look-up about the registry.
type assessment int

const (
	healthy assessment = iota // nothing is wrong, or only one repository fails
	suspect                   // it may be down
	down                      // several repositories don't answer
)

// allow returns an error while the circuit is open.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	return &failure{reason: ReasonCircuit, text: printable.Line(fmt.Sprintf("circuit open since %s: %s", b.openedAt.Format(time.TimeOnly), b.reason), textLimit)}
}

// state returns whether the circuit is open, the time of the last change, and the reason
// if it is open.
func (b *breaker) state() (open bool, since time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return true, b.openedAt, b.reason
	}
	return false, b.closedAt, ""
}

// record records the outcome of a look-up that began at started, nil if it succeeded, and
// returns what it says about the registry. One failing repository does not mean that the
// registry is down: its root or another repository has to fail as well.
func (b *breaker) record(started time.Time, repository string, outcome *failure) assessment {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open || started.Before(b.closedAt) {
		return healthy // it says nothing new
	}
	switch {
	case outcome == nil || outcome.reason.severity() == answered:
		b.answeredAt, b.failingRepository, b.overloads, b.firstDelay = time.Now(), "", 0, 0
		return healthy
	case outcome.reason.severity() == overloaded:
		if b.overloads++; b.overloads < overloadLimit {
			return healthy
		}
		b.overloads = 0
		return suspect
	case b.answeredAt.After(started):
		return healthy // it has answered meanwhile, for another repository
	}
	others := b.failingRepository != "" && b.failingRepository != repository && time.Since(b.failedAt) < firstDelayMax
	b.failingRepository, b.failedAt = repository, time.Now()
	if others {
		return down
	}
	return suspect
}

// trip opens the circuit because of a look-up that began at started. It reports whether
// the circuit was closed, so that the caller has to start probing.
func (b *breaker) trip(started time.Time, outcome *failure) bool {
	b.transition.Lock()
	defer b.transition.Unlock()
	if !b.tryOpen(started, outcome) {
		return false
	}
	b.notify(true, outcome.text)
	return true
}

func (b *breaker) tryOpen(started time.Time, outcome *failure) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open || started.Before(b.closedAt) {
		return false
	}
	b.open, b.openedAt, b.reason, b.overloads, b.failingRepository = true, time.Now(), outcome.text, 0, ""
	// Each return of a registry that answers probes and nothing else costs a look-up, so
	// that the delay grows. It starts over after the circuit has been closed for long.
	if time.Since(b.closedAt) > firstDelayMax {
		b.firstDelay = 0
	}
	b.firstDelay, b.delay = min(max(b.firstDelay*backoffFactor, probeDelayMin), firstDelayMax), 0
	return true
}

// close closes an open circuit.
func (b *breaker) close() {
	b.transition.Lock()
	defer b.transition.Unlock()
	b.mu.Lock()
	b.open, b.closedAt = false, time.Now()
	b.mu.Unlock()
	b.notify(false, "it answers again")
}

// nextDelay returns how long to wait before the next probe of an open circuit.
func (b *breaker) nextDelay() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.delay == 0 {
		b.delay = b.firstDelay
	} else {
		b.delay = min(b.delay*backoffFactor, probeDelayMax)
	}
	return b.delay - rand.N(b.delay/5) // so that the nodes of a cluster don't probe together
}
