package scale

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestInstall installs the agent on all nodes at once. All pods become ready, and there is one
// Secret with the configuration.
func TestInstall(t *testing.T) {
	ctx := testContext(t)
	uninstall(ctx, t)
	measure(ctx, t, "helm install --wait", func() {
		upgrade(ctx, t, goodValues(), "--wait", "--timeout", "15m")
		awaitAgents(ctx, t, rolledOut(nodes()))
	})
	if secrets := configurations(ctx, t); len(secrets) != 1 {
		t.Errorf("found the Secrets %v, want one", secrets)
	}
	logTimes(ctx, t)
}

// logTimes logs the times from a pod's creation to its states, of the real node's pod and of the
// simulated ones.
func logTimes(ctx context.Context, t *testing.T) {
	t.Helper()
	times := make(map[string][]time.Duration)
	var created []time.Time
	for _, pod := range agentPods(ctx, t) {
		kind := "simulated"
		if pod.Spec.NodeName == shared.Nodes[0].Name {
			kind = "real"
		}
		created = append(created, pod.CreationTimestamp.Time)
		for _, condition := range pod.Status.Conditions {
			if condition.Status == corev1.ConditionTrue && (condition.Type == corev1.PodScheduled || condition.Type == corev1.PodReady) {
				state := kind + " " + string(condition.Type)
				times[state] = append(times[state], condition.LastTransitionTime.Sub(pod.CreationTimestamp.Time))
			}
		}
	}
	slices.SortFunc(created, time.Time.Compare)
	t.Logf("measured: %d pods were created within %v", len(created), created[len(created)-1].Sub(created[0]))
	for _, state := range slices.Sorted(maps.Keys(times)) {
		durations := times[state]
		slices.Sort(durations)
		t.Logf("measured: %s after creation: median %v, longest %v", state, durations[len(durations)/2], durations[len(durations)-1])
	}
}
