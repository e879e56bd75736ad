package cluster

import (
	"context"
	"testing"

	"image-cri-shim/e2e/cluster/bed"
)

// TestClusterRuns runs a pod on each node, with the image under the registry's own name.
func TestClusterRuns(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	for _, node := range cluster.Nodes {
		pod := bed.Pod("runs-"+node.Name, bed.PreloadedImage, node)
		if err := cluster.Create(ctx, pod); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cluster.Delete(context.WithoutCancel(ctx), pod); err != nil {
				t.Error(err)
			}
		})
		if err := cluster.AwaitRunning(ctx, pod); err != nil {
			t.Error(err)
		}
	}
}
