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
	probeDelayMax = 5 * time.Second // between two probes at the beginning of an outage
	outageShare   = 10              // later, the delay is up to this fraction of the outage
	firstDelayMax = time.Minute     // before the first probe, and between two probes
	backoffFactor = 2               // ratio of each delay to the previous one
)

// breaker is the circuit breaker of a registry. The circuit is open while the registry is
// known to be down. Methods are safe for concurrent use.
type breaker struct {
	notify func(open bool, reason string)

	transition sync.Mutex // held during a change and its notification, so that notifications stay in order

	mu                sync.Mutex
	open              bool
	openedAt          time.Time
	closedAt          time.Time
	reason            string        // of the last opening
	answeredAt        time.Time     // when the last lookup was answered
	failingRepository string        // of the last unanswered lookup; empty once a lookup is answered
	failedAt          time.Time     // when that lookup ended
	overloads         int           // consecutive overloaded answers
	firstDelay        time.Duration // before the first probe of the last opening; 0 once a lookup has been answered
	delay             time.Duration // before the last probe of this opening; 0 before the first
}

// assessment is the state of a registry as concluded from a lookup.
type assessment int

const (
	healthy assessment = iota // no failure, or only one repository fails
	suspect                   // the registry may be down
	down                      // several repositories don't answer
)

// allow returns an error while the circuit is open.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	return &failure{reason: ReasonCircuit, text: printable.Line(fmt.Sprintf("known to be down since %s: %s", b.openedAt.Format(time.TimeOnly), b.reason), textLimit)}
}

// state reports whether the circuit is open, the time of the last change, and the reason
// if it is open.
func (b *breaker) state() (open bool, since time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return true, b.openedAt, b.reason
	}
	return false, b.closedAt, ""
}

// record records the outcome of a lookup that began at started and returns the assessment
// of the registry. outcome is nil if the lookup succeeded. One failing repository does not
// mean that the registry is down: its API root or another repository has to fail as well.
func (b *breaker) record(started time.Time, repository string, outcome *failure) assessment {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open || started.Before(b.closedAt) {
		return healthy // the outcome is older than the last change of the circuit
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
		return healthy // another repository was answered in the meantime
	}
	others := b.failingRepository != "" && b.failingRepository != repository && time.Since(b.failedAt) < firstDelayMax
	b.failingRepository, b.failedAt = repository, time.Now()
	if others {
		return down
	}
	return suspect
}

// trip opens the circuit because of a lookup that began at started. It reports whether the
// circuit was closed before; if so, the caller must start probing.
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
	// A registry that answers probes but no lookups costs one lookup each time the circuit
	// closes. Therefore the delay grows, and is reset only after the circuit has been
	// closed for a while.
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
	b.notify(false, "the registry answers again")
}

// nextDelay returns how long to wait before the next probe of an open circuit. In a long outage
// the delays grow, since thousands of nodes may probe a registry that can hardly answer. Their
// circuits then also close one after the other.
func (b *breaker) nextDelay() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.delay == 0 {
		b.delay = b.firstDelay
	} else {
		longest := min(max(probeDelayMax, time.Since(b.openedAt)/outageShare), firstDelayMax)
		b.delay = min(b.delay*backoffFactor, longest)
	}
	return b.delay - rand.N(b.delay/5) // jitter, so that the nodes of a cluster don't probe at the same time
}
