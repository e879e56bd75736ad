package trace

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// TestSeam has readers that look back join while calls end. Each must get each call once, with
// and without another reader.
func TestSeam(t *testing.T) {
	for _, watched := range []bool{false, true} {
		f := newFixture(t)
		f.hub.SetBuffer(MaxBuffer)
		if watched {
			f.subscribe(Filter{Errors: true}, false)
		}
		const callers, calls = 4, 500
		var calling, reading sync.WaitGroup
		for caller := range uint64(callers) {
			calling.Go(func() {
				for i := range uint64(calls) {
					call := Call{ID: caller*calls + i, Method: v1 + "Version", Start: time.Now()}
					f.hub.Begin(call)
					f.hub.End(call, Result{})
				}
			})
		}
		for reader := range uint64(20) {
			reading.Go(func() {
				r, past, err := f.hub.SubscribeSince(t.Context(), time.Time{}, Filter{}, false)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				seen := make(map[uint64]int)
				for _, e := range decodeLines(t, past.Lines) {
					seen[e.ID]++
				}
				calling.Wait()
				last := callers*calls + reader // ended after all others
				f.hub.End(Call{ID: last, Method: v1 + "Version"}, Result{})
				for seen[last] == 0 {
					seen[f.next(r).ID]++
				}
				for id := range uint64(callers * calls) {
					if seen[id] != 1 {
						t.Errorf("call %d was read %d times", id, seen[id])
					}
				}
			})
		}
		reading.Wait()
	}
}

// TestReadersOfHistory requires that a look back does not depend on the limits of a reader's
// queue.
func TestReadersOfHistory(t *testing.T) {
	f := newFixture(t)
	f.hub.SetBuffer(MaxBuffer)
	const calls = maxQueuedLines + 500
	for id := range uint64(calls) {
		f.hub.End(Call{ID: id, Method: "m"}, Result{})
	}
	r, past, err := f.hub.SubscribeSince(t.Context(), time.Time{}, Filter{}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f.hub.End(Call{ID: calls, Method: "m"}, Result{})
	if e := f.next(r); e.ID != calls {
		t.Errorf("got %+v", e)
	}
	ids := make([]uint64, 0, calls)
	for _, e := range decodeLines(t, past.Lines) {
		ids = append(ids, e.ID)
	}
	if !slices.IsSorted(ids) || len(ids) < maxQueuedLines || ids[len(ids)-1] != calls-1 {
		t.Errorf("%d calls, %d to %d", len(ids), ids[0], ids[len(ids)-1])
	}
}
