package registry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"image-cri-shim/printable"
)

const (
	overloadLimit  = 3 // answers in a row that open a circuit
	probePauseMin  = time.Second
	probePauseMax  = 5 * time.Second // between two probes
	firstPauseMax  = time.Minute     // before the first one
	probePauseRate = 2               // from one pause to the next
)

// breaker is a registry's circuit. Open, it says that the registry is known to
// be down. Its methods may be called concurrently.
type breaker struct {
	notify func(open bool, reason string)

	transition sync.Mutex // held over a change and its notification, to keep these in order

	mu        sync.Mutex
	open      bool
	since     time.Time     // of the last opening
	closed    time.Time     // of the last closing
	reason    string        // of the last opening
	answered  time.Time     // when the last look-up was answered
	failing   string        // the repository of the last one that was not; empty once one is
	failed    time.Time     // when that was
	overloads int           // in a row
	first     time.Duration // pause of the last opening; 0 once a look-up has been answered
	pause     time.Duration // the last one of this opening; 0 before the first
}

// assessment is what a look-up says about the registry.
type assessment int

const (
	fine    assessment = iota // nothing is wrong with it, or with one repository only
	suspect                   // it may be down
	down                      // several repositories don't answer
)

// withheld is why the registry must not be asked now, nil if it may be.
func (b *breaker) withheld() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	return &failure{reason: ReasonCircuit, text: printable.Line(fmt.Sprintf("circuit open since %s: %s", b.since.Format(time.TimeOnly), b.reason), textLimit)}
}

// state tells whether the circuit is open, since when it is open or closed, and why it
// is open.
func (b *breaker) state() (open bool, since time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		return true, b.since, b.reason
	}
	return false, b.closed, ""
}

// judge notes how a look-up ended, failed or not (nil), that began at started, and
// returns what that says about the registry. One repository can't say that the
// registry is down: before it counts as down, its root or another repository has to
// fail as well.
func (b *breaker) judge(started time.Time, repository string, outcome *failure) assessment {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open || started.Before(b.closed) {
		return fine // it says nothing new
	}
	switch {
	case outcome == nil || outcome.reason.severity() == answered:
		b.answered, b.failing, b.overloads, b.first = time.Now(), "", 0, 0
		return fine
	case outcome.reason.severity() == overloaded:
		if b.overloads++; b.overloads < overloadLimit {
			return fine
		}
		b.overloads = 0
		return suspect
	case b.answered.After(started):
		return fine // it has answered meanwhile, for another repository
	}
	others := b.failing != "" && b.failing != repository && time.Since(b.failed) < firstPauseMax
	b.failing, b.failed = repository, time.Now()
	if others {
		return down
	}
	return suspect
}

// trip opens the circuit because of a look-up that began at started. It reports
// whether it was closed, so that the registry has to be probed now.
func (b *breaker) trip(started time.Time, outcome *failure) bool {
	b.transition.Lock()
	defer b.transition.Unlock()
	if !b.opens(started, outcome) {
		return false
	}
	b.notify(true, outcome.text)
	return true
}

func (b *breaker) opens(started time.Time, outcome *failure) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open || started.Before(b.closed) {
		return false
	}
	b.open, b.since, b.reason, b.overloads, b.failing = true, time.Now(), outcome.text, 0, ""
	// A registry that answers probes and nothing else costs each return a look-up, so
	// that it returns ever later. One that has been back for long is none.
	if time.Since(b.closed) > firstPauseMax {
		b.first = 0
	}
	b.first, b.pause = min(max(b.first*probePauseRate, probePauseMin), firstPauseMax), 0
	return true
}

// close closes an open circuit.
func (b *breaker) close() {
	b.transition.Lock()
	defer b.transition.Unlock()
	b.mu.Lock()
	b.open, b.closed = false, time.Now()
	b.mu.Unlock()
	b.notify(false, "it answers again")
}

// nextPause is how long to wait before the next probe of an open circuit.
func (b *breaker) nextPause() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		b.pause = b.first
	} else {
		b.pause = min(b.pause*probePauseRate, probePauseMax)
	}
	return b.pause - rand.N(b.pause/5) // so that the nodes of a cluster don't probe together
}
