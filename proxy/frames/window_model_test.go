package frames

import (
	"math/rand/v2"
	"testing"
)

// history has the sums of all operations on a window. check computes the expected window from
// them.
type history struct {
	initial, sent, updated, given    int
	passed, absorbed, injected, size int
}

// After random operations in any order, a window agrees with its history. The sender gets
// exactly the credit that the receiver accepts.
func TestWindowModel(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		h := history{initial: random.IntN(100_000)}
		w := newRelayWindow(h.initial)
		for step := range 500 {
			n := random.IntN(5000)
			switch random.IntN(7) {
			case 0: // within the sender's window
				if n = min(n, w.sender); n > 0 {
					h.sent += n
					w.receive(n)
				}
			case 1: // within the receiver's window
				if n = min(n, w.held, w.available()); n > 0 {
					h.passed += n
					w.pass(n)
				}
			case 2:
				n = min(n, w.held)
				h.absorbed += n
				w.absorb(n)
			case 3:
				if n = min(n, w.available()); n > 0 {
					h.injected += n
					w.inject(n)
				}
			case 4:
				h.updated += n
				w.add(n)
			case 5:
				h.given += w.takeCredit()
			case 6:
				n -= 2500 // a change of the initial window for both ends
				h.size += n
				w.sender += n
				w.receiver.size += n
			}
			h.check(t, w, step)
		}
	}
}

func (h history) check(t *testing.T, w relayWindow, step int) {
	t.Helper()
	want := relayWindow{
		sender:   h.initial + h.size + h.given - h.sent,
		receiver: window{size: h.initial + h.size + h.updated - h.passed - h.injected},
		held:     h.sent - h.passed - h.absorbed,
	}
	if w != want {
		t.Fatalf("step %d: the window is %+v, want %+v", step, w, want)
	}
	// With the pending credit, the sender's window is never larger than the receiver's.
	if due := w.pendingCredit(); due > 0 && w.sender+due+w.held != w.available() || due == 0 && w.sender+w.held < w.available() {
		t.Fatalf("step %d: the pending credit is %d for %+v", step, due, w)
	}
	if w.pendingCredit() > 0 && w.sender <= 0 && !w.creditUrgent() {
		t.Fatalf("step %d: the sender has no window, but the pending credit is not urgent: %+v", step, w)
	}
}
