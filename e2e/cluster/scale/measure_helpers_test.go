package scale

import (
	"context"
	"maps"
	"testing"

	"image-cri-shim/e2e/cluster/bed"
)

// measure logs what the apiserver uses during work.
func measure(ctx context.Context, t *testing.T, name string, work func()) bed.Usage {
	t.Helper()
	before, err := shared.Usage(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := shared.Calls()
	if err != nil {
		t.Fatal(err)
	}
	work()
	after, err := shared.Usage(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	used := after.Since(before)
	t.Logf("measured %s: %v", name, used)
	if made := callsSince(t, calls); len(made) > 0 {
		t.Logf("measured %s: calls of the release: %v", name, made)
	}
	return used
}

// callsSince returns the calls of the release's service accounts since former.
func callsSince(t *testing.T, former map[string]int) map[string]int {
	t.Helper()
	calls, err := shared.Calls()
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(calls, func(call string, count int) bool { return count == former[call] })
	for call := range calls {
		calls[call] -= former[call]
	}
	return calls
}
