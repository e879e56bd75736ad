package scale

import (
	"testing"
	"time"

	"image-cri-shim/e2e/cluster/bed"
)

// TestRefused upgrades to a configuration that all agents refuse. It reaches only as many nodes
// as may be unavailable. The rollback replaces these pods and no others.
func TestRefused(t *testing.T) {
	ctx := testContext(t)
	v := goodValues().with("config", goodConfig(100)).with("maxUnavailable", "5%")
	install(ctx, t, v)
	before := make(map[string]bool)
	for _, pod := range agentPods(ctx, t) {
		before[pod.Name] = true
	}
	ready := observe(ctx, t)
	limit := percent(5)
	measure(ctx, t, "a refused configuration", func() {
		upgrade(ctx, t, v.with("config", badConfig))
		awaitUpdated(ctx, t, limit)
		time.Sleep(30 * time.Second) // five times a node's time
		if updated := awaitUpdated(ctx, t, limit); updated != limit {
			t.Errorf("the configuration reached %d nodes, want %d", updated, limit)
		}
	})
	refused := make(map[string]bool)
	for _, pod := range agentPods(ctx, t) {
		if !before[pod.Name] && bed.CheckRunning(&pod) != nil {
			refused[pod.Name] = true
		}
	}
	if len(refused) != limit {
		t.Errorf("%d pods refuse the configuration, want %d", len(refused), limit)
	}
	ready.requireReady(t, limit)
	measure(ctx, t, "helm rollback --wait", func() {
		if _, err := shared.Helm(ctx, "rollback", releaseName, "--namespace", namespace, "--wait", "--timeout", "10m"); err != nil {
			t.Fatal(err)
		}
		awaitAgents(ctx, t, rolledOut(nodes()))
	})
	ready.requireReady(t, limit)
	kept := 0
	for _, pod := range agentPods(ctx, t) {
		if refused[pod.Name] {
			t.Errorf("the pod %s is still there", pod.Name)
		}
		if before[pod.Name] {
			kept++
		}
	}
	if want := nodes() - limit; kept != want {
		t.Errorf("%d pods were not replaced, want %d", kept, want)
	}
}
