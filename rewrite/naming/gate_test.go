package naming

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"image-cri-shim/rewrite/containerd"
)

// TestGateOrders runs sequences of calls. Each step has the name of a call and its argument.
// "wait" begins a call that must block, "go" checks that a blocked call continues, and "end"
// ends a call.
func TestGateOrders(t *testing.T) {
	for name, steps := range map[string]string{
		"pulls of a repository run at once":            "enter a, enter a, leave a, leave a, release a",
		"a deletion waits for no pull of another":      "enter a, enter b, leave a, release a, leave b, release b",
		"a pull waits for the deletion":                "enter a, leave a, wait enter a, release a, go enter a, leave a, release a",
		"a pull waits for a claim":                     "claim a b, wait enter b, release a b, go enter b, leave b, release b",
		"a claim gives way to a pull":                  "enter b, refused claim a b, enter a, leave a, release a, leave b, release b",
		"a claim gives way to a deletion":              "claim a, refused claim a, release a, claim a, release a",
		"a reopened repository lets pulls in":          "enter a, leave a, wait enter a, reopen a, go enter a, leave a, leave a, release a",
		"calls use an image at once":                   "use 1, use 1, end use 1, end use 1",
		"a call waits for a change":                    "exclude 1, wait use 1, use 2, end use 2, end exclude 1, go use 1, end use 1",
		"a change waits for the calls":                 "use 1, use 2, use 1, wait exclude 2 1, end use 1, end use 2, end use 1, go exclude 2 1, end exclude 2 1",
		"a call gives way to a change that waits":      "use 1, wait exclude 1, wait use 1, end use 1, go exclude 1, end exclude 1, go use 1, end use 1",
		"a change of two images takes both or none":    "exclude 1, wait exclude 1 2, exclude 2, end exclude 1, end exclude 2, go exclude 1 2, end exclude 1 2",
		"a change that gives up lets the calls go on":  "use 1, wait exclude 1, wait use 1, cancel exclude 1, go use 1, end use 1, end use 1",
		"a call that gives up leaves nothing":          "exclude 1, wait use 1, cancel use 1, end exclude 1",
		"a pull that gives up leaves nothing":          "claim a, wait enter a, cancel enter a, release a, claim a, release a",
		"an ID is the same with and without algorithm": "exclude sha256:1, wait use 1, end exclude sha256:1, go use 1, end use 1",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &gateSteps{t: t, gate: newGate(), cancels: make(map[string]context.CancelFunc), results: make(map[string]chan error), ends: make(map[string][]func())}
				for _, step := range strings.Split(steps, ", ") {
					s.step(step)
				}
				if !s.gate.idle() || len(s.gate.users) > 0 || len(s.gate.waiting) > 0 {
					t.Errorf("the gate is not empty: %+v", s.gate)
				}
			})
		})
	}
}

type gateSteps struct {
	t       *testing.T
	gate    *gate
	cancels map[string]context.CancelFunc
	results map[string]chan error
	mutex   sync.Mutex
	ends    map[string][]func() // guarded by mutex
}

func (s *gateSteps) step(step string) {
	s.t.Helper()
	how, what, _ := strings.Cut(step, " ")
	switch how {
	case "wait":
		ctx, cancel := context.WithCancel(s.t.Context())
		s.cancels[what], s.results[what] = cancel, make(chan error, 1)
		go func() { s.results[what] <- s.begin(ctx, what) }()
		synctest.Wait()
		if len(s.results[what]) > 0 {
			s.t.Fatalf("%s: the call did not block", step)
		}
	case "go", "cancel":
		if how == "cancel" {
			s.cancels[what]()
		}
		synctest.Wait()
		select {
		case err := <-s.results[what]:
			if how == "go" != (err == nil) || how == "cancel" && !errors.Is(err, context.Canceled) {
				s.t.Fatalf("%s: %v", step, err)
			}
		default:
			s.t.Fatalf("%s: the call still blocks", step)
		}
		s.cancels[what]()
	case "end":
		s.mutex.Lock()
		end := s.ends[what][0]
		s.ends[what] = s.ends[what][1:]
		s.mutex.Unlock()
		end()
	case "refused":
		if s.begin(s.t.Context(), what) == nil {
			s.t.Fatalf("%s: the call continued", step)
		}
	default:
		if err := s.begin(s.t.Context(), step); err != nil {
			s.t.Fatalf("%s: %v", step, err)
		}
	}
}

func (s *gateSteps) begin(ctx context.Context, what string) (err error) {
	fields := strings.Fields(what)
	switch of := fields[1:]; fields[0] {
	case "enter":
		_, err = s.gate.beginPull(ctx, of[0])
	case "leave":
		s.gate.endPull(of[0])
	case "reopen":
		s.gate.reopen(of[0])
	case "release":
		s.gate.endDeletion(of...)
	case "claim":
		if !s.gate.beginDeletion(of...) {
			err = errors.New("a pull is in progress")
		}
	case "use", "exclude":
		begin := s.gate.use
		if fields[0] == "exclude" {
			begin = s.gate.exclude
		}
		var done func()
		if done, err = begin(ctx, of...); err == nil {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.ends[what] = append(s.ends[what], done)
		}
	}
	return err
}

// TestGateLoad makes many concurrent calls, some of which are cancelled. No image may be used
// while it is changed, no two changes of an image may overlap, and the gate must be empty at
// the end.
func TestGateLoad(t *testing.T) {
	g := newGate()
	var images [3]struct{ users, changes atomic.Int32 }
	var running sync.WaitGroup
	for worker := range 16 {
		running.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 300 {
				of := random.IntN(len(images))
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
				if random.IntN(3) > 0 {
					if done, err := g.use(ctx, fmt.Sprint(of)); err == nil {
						images[of].users.Add(1)
						if images[of].changes.Load() > 0 {
							t.Error("an image was used while it was changed")
						}
						images[of].users.Add(-1)
						done()
					}
				} else if done, err := g.exclude(ctx, fmt.Sprint(of), "more"); err == nil {
					if images[of].changes.Add(1) > 1 || images[of].users.Load() > 0 {
						t.Error("an image was changed while it was used or changed")
					}
					images[of].changes.Add(-1)
					done()
				}
				cancel()
			}
		})
	}
	running.Wait()
	if !g.idle() || len(g.users) > 0 || len(g.waiting) > 0 {
		t.Errorf("the gate is not empty: %+v", g)
	}
}

// TestGateKeeps checks which records stay, for each order of the list and of pulls by own names.
func TestGateKeeps(t *testing.T) {
	record := func(name, digest string) *containerd.Record {
		return &containerd.Record{Name: name, Target: &containerd.Descriptor{Digest: digest}}
	}
	g := newGate()
	state, err := g.beginPull(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	g.keep(state, record("a:own", "new")) // before setKept with a list from before the pull
	g.setKept(state, map[string]*containerd.Record{"a:own": record("a:own", "old"), "a:there": record("a:there", "1")})
	g.setKept(state, map[string]*containerd.Record{"a:late": record("a:late", "1")})
	g.addCreated(state, "image", "a:added", "a:asked")
	g.keep(state, record("a:asked", "1"))
	for name, want := range map[string]bool{"a:own new": true, "a:own old": false, "a:there 1": true, "a:there 2": false, "a:late 1": false, "a:asked 1": true, "a:added 1": false} {
		name, digest, _ := strings.Cut(name, " ")
		if got := g.isKept(state, record(name, digest)); got != want {
			t.Errorf("%s with the target %s: got kept %v, want %v", name, digest, got, want)
		}
	}
	if got := slices.Sorted(maps.Keys(state.created)); !slices.Equal(got, []string{"a:added"}) {
		t.Errorf("created names %q, want only a:added", got)
	}
}

// TestGateRemembersEachPullOnce checks that repeated pulls are recorded once.
func TestGateRemembersEachPullOnce(t *testing.T) {
	g := newGate()
	state, err := g.beginPull(t.Context(), hub+"/library/nginx")
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		g.addPull(state, journaledPull{Original: asked, Reference: stored})
	}
	if len(state.pulls) != 1 {
		t.Errorf("%d pulls are recorded, want 1", len(state.pulls))
	}
}
