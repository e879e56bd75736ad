package registry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
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
	overloads int           // in a row
	first     time.Duration // pause of the last opening; 0 once a look-up has been answered
	pause     time.Duration // the last one of this opening; 0 before the first
}

// withheld is why the registry must not be asked now, nil if it may be.
func (b *breaker) withheld() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	return &failure{reason: ReasonCircuit, text: oneLine(fmt.Sprintf("circuit open since %s: %s", b.since.Format(time.TimeOnly), b.reason))}
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

// record takes note of a look-up, failed or not (nil), that began at started.
// It tells whether the circuit has opened, so that it has to be probed.
func (b *breaker) record(started time.Time, outcome *failure) bool {
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
		return false // it says nothing new
	}
	switch {
	case outcome == nil || outcome.reason.severity() == answered:
		b.overloads, b.first = 0, 0
		return false
	case outcome.reason.severity() == overloaded && b.overloads+1 < overloadLimit:
		b.overloads++
		return false
	}
	b.open, b.since, b.reason, b.overloads = true, time.Now(), outcome.text, 0
	// A registry that answers probes and nothing else costs each return a
	// look-up, so that it returns ever later. It is none that has been back for
	// long.
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
