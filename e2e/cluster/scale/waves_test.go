package scale

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image-cri-shim/e2e/cluster/bed"
)

// TestWaves installs the agent on labelled nodes only. A label adds nodes and replaces no pod,
// another value in waves adds its nodes.
func TestWaves(t *testing.T) {
	ctx := testContext(t)
	uninstall(ctx, t)
	if simulated < 100 {
		t.Fatalf("FLEET_NODES is %d, want at least 100", simulated)
	}
	v := goodValues().with("waves", []string{"canary"}).with("maxUnavailable", "5%")
	label(ctx, t, "canary", 0, 5)
	measure(ctx, t, "the wave of 5 nodes", func() {
		upgrade(ctx, t, v)
		awaitAgents(ctx, t, rolledOut(5))
	})
	first := podNames(ctx, t)
	label(ctx, t, "canary", 5, 50)
	measure(ctx, t, "the label on 45 further nodes", func() { awaitAgents(ctx, t, rolledOut(50)) })
	logTimes(ctx, t)
	now := podNames(ctx, t)
	for pod := range first {
		if !now[pod] {
			t.Errorf("the pod %s was replaced", pod)
		}
	}
	label(ctx, t, "second", 50, 100)
	measure(ctx, t, "the second wave of 50 nodes", func() {
		upgrade(ctx, t, v.with("waves", []string{"canary", "second"}))
		awaitAgents(ctx, t, rolledOut(100))
	})
	measure(ctx, t, "helm uninstall with 100 nodes", func() { uninstall(ctx, t) })
}

// label sets the label for waves on a range of the simulated nodes.
func label(ctx context.Context, t *testing.T, wave string, from, to int) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"image-cri-shim.io/wave":%q}}}`, wave)
	for number := from; number < to; number++ {
		if _, err := shared.Client.CoreV1().Nodes().Patch(ctx, bed.SimulatedName(number), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func podNames(ctx context.Context, t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, pod := range agentPods(ctx, t) {
		names[pod.Name] = true
	}
	return names
}
