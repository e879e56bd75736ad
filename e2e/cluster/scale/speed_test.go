package scale

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

// replaced is the number of pods that kube-controller-manager replaces in a second. It makes 20
// requests by default, and a pod takes two.
const replaced = 10

// TestSpeed changes the configuration with several speeds. At no time are more nodes unready
// than maxUnavailable permits. A speed is changed in the midst of the rolling update, which
// goes on.
func TestSpeed(t *testing.T) {
	ctx := testContext(t)
	install(ctx, t, goodValues())
	ready := observe(ctx, t)
	v := goodValues().with("config", goodConfig(1))
	one := speed(ctx, t, ready, v.with("maxUnavailable", 1), 1, 10)
	speed(ctx, t, ready, v.with("maxUnavailable", "1%"), percent(1), 10*percent(1))
	speed(ctx, t, ready, v.with("maxUnavailable", "5%"), percent(5), nodes())
	// Pods that are ready for a shorter time than minReadySeconds count as unavailable, and the
	// DaemonSet would replace all of them at once.
	v = v.with("minReadySeconds", 30)
	install(ctx, t, v)
	v = v.with("config", goodConfig(2))
	slow := speed(ctx, t, ready, v.with("maxUnavailable", "5%"), percent(5), 3*percent(5))
	speed(ctx, t, ready, v.with("maxUnavailable", "100%").with("minReadySeconds", 1), nodes(), nodes())
	for _, fleet := range []int{1000, 10000} {
		for _, share := range []float64{0, .01, .05, .1} {
			unavailable := max(1, int(math.Ceil(float64(fleet)*share)))
			taken := (one + 29*time.Second) * time.Duration(fleet) / time.Duration(unavailable)
			least := time.Duration(fleet) * time.Second / replaced
			t.Logf("computed: %d nodes, minReadySeconds 30, maxUnavailable %d: %v", fleet, unavailable, max(taken, least).Round(time.Minute))
		}
	}
	t.Logf("a round takes %v with minReadySeconds 1 and %v with 30", one, slow)
}

// percent returns a percentage of all nodes, as Kubernetes rounds it.
func percent(share int) int { return (nodes()*share + 99) / 100 }

// speed upgrades the release, and waits until a number of further nodes has the change, or all.
// It returns the time of a round, which is that of as many nodes as may be unavailable.
func speed(ctx context.Context, t *testing.T, ready *observer, v values, unavailable, further int) (round time.Duration) {
	t.Helper()
	name := fmt.Sprintf("maxUnavailable %v, minReadySeconds %v", v["maxUnavailable"], v["minReadySeconds"])
	calls, err := shared.Calls()
	if err != nil {
		t.Fatal(err)
	}
	measure(ctx, t, name, func() {
		upgrade(ctx, t, v)
		begin := awaitUpdated(ctx, t, unavailable)
		target := min(begin+further, nodes())
		began := time.Now()
		if target < nodes() {
			target = awaitUpdated(ctx, t, target)
		} else {
			awaitAgents(ctx, t, rolledOut(nodes()))
		}
		taken, rounds := time.Since(began), math.Ceil(float64(max(1, target-begin))/float64(unavailable))
		round = time.Duration(float64(taken) / rounds)
		t.Logf("measured %s: %d nodes in %v, a round of %d in %v", name, target-begin, taken.Round(time.Second), unavailable, round.Round(100*time.Millisecond))
	})
	ready.requireReady(t, unavailable)
	for call := range callsSince(t, calls) {
		if !strings.HasPrefix(call, daemonSet+"-prune ") {
			t.Errorf("found the call %q, want only those of the hook prune", call)
		}
	}
	return round
}

// awaitUpdated waits until at least a number of nodes has the current revision, and returns
// their number.
func awaitUpdated(ctx context.Context, t *testing.T, number int) (updated int) {
	t.Helper()
	awaitAgents(ctx, t, func(s appsv1.DaemonSetStatus) error {
		if updated = int(s.UpdatedNumberScheduled); updated < number {
			return fmt.Errorf("%d nodes are updated, want %d", updated, number)
		}
		return nil
	})
	return updated
}
