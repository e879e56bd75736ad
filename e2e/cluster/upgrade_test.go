package cluster

import (
	"context"
	"fmt"
	"testing"

	"image-cri-shim/e2e/cluster/bed"
)

// shimSocket is the socket of the shim on a node.
const shimSocket = "/run/image-cri-shim.sock"

// TestUpgradeUnderLoad upgrades the version while clients use the shim of each node. No call
// fails. The new image has a public name, so the old shim pulls it from the private registry.
func TestUpgradeUnderLoad(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	if err := cluster.Push(ctx, "library/load:1"); err != nil {
		t.Fatal(err)
	}
	var loads []*bed.Load
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
		load, err := node.StartLoad(ctx, shimSocket, "docker.io/library/load:1")
		if err != nil {
			t.Fatal(err)
		}
		defer load.Stop()
		loads = append(loads, load)
	}
	kubelets := kubeletProcesses(ctx, t)
	install(ctx, t, newVersion, goodValues().with("image", values{
		"repository": "docker.io/library/" + bed.AgentRepository, "pullSecrets": []string{loginSecret},
	}))
	for i, node := range cluster.Nodes {
		awaitServing(ctx, t, node, newVersion)
		before := loads[i].Answered()
		if err := bed.Await(ctx, func(ctx context.Context) error {
			if now := loads[i].Answered(); now < before+20 {
				return fmt.Errorf("%d calls since the upgrade, want 20", now-before)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		failures := loads[i].Stop()
		t.Logf("%s: %d calls answered, %d failed", node.Name, loads[i].Answered(), len(failures))
		for _, err := range failures {
			t.Errorf("%s: %v", node.Name, err)
		}
	}
	if now := kubeletProcesses(ctx, t); fmt.Sprint(now) != fmt.Sprint(kubelets) {
		t.Errorf("kubelet restarted: the processes were %v, are %v", kubelets, now)
	}
}
