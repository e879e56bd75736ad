package cluster

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"image-cri-shim/e2e/cluster/bed"
)

// busyPods is the number of pods that run while the shim is installed.
const busyPods = 20

// TestInstall installs the chart while pods run. No pod restarts, no node is unready, and
// then public names run from the private registry, whose password only the shim has.
func TestInstall(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	uninstall(ctx, t)
	var pods []*corev1.Pod
	for number := range busyPods {
		pods = append(pods, bed.Pod(fmt.Sprintf("busy-%d", number), bed.PreloadedImage, nil))
	}
	if err := cluster.Create(ctx, pods...); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Delete(ctx, pods...); err != nil {
			t.Error(err)
		}
	}()
	if err := cluster.AwaitRunning(ctx, pods...); err != nil {
		t.Fatal(err)
	}
	observer, err := cluster.Observe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	install(ctx, t, oldVersion, goodValues())
	t.Logf("installed on both nodes within %v", time.Since(began).Round(time.Second))
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
		runPublic(ctx, t, node)
	}
	for _, problem := range observer.Stop() {
		t.Error(problem)
	}
}
