package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/e2e/cluster/bed"
)

// TestForcedDeletion deletes the DaemonSet and its pods with force. The shim goes on, and new
// pods start through it. An upgrade brings the pods back.
func TestForcedDeletion(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	var shims []string
	for _, node := range cluster.Nodes {
		shims = append(shims, mainProcess(ctx, t, node, "image-cri-shim"))
	}
	background := metav1.DeletePropagationBackground
	if err := cluster.Client.AppsV1().DaemonSets(namespace).Delete(ctx, daemonSet, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := bed.Await(ctx, func(ctx context.Context) error {
		pods, err := agentPods(ctx, "agent")
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d pods still exist", len(pods))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, node := range cluster.Nodes {
		runPublic(ctx, t, node)
		if now := mainProcess(ctx, t, node, "image-cri-shim"); now != shims[i] {
			t.Errorf("%s: the process of the shim was %s, is %s", node.Name, shims[i], now)
		}
	}
	install(ctx, t, oldVersion, goodValues().with("minReadySeconds", 0)) // a change, or Helm would not mend
}

// TestReboot reboots a node, and cuts the power of the other.
func TestReboot(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	if err := cluster.Nodes[0].Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	cluster.Nodes[1].PowerOff()
	if err := cluster.Nodes[1].Boot(ctx); err != nil {
		t.Fatal(err)
	}
	for _, node := range cluster.Nodes {
		if err := cluster.AwaitReady(ctx, node); err != nil {
			t.Fatal(err)
		}
		awaitServing(ctx, t, node, oldVersion)
		runPublic(ctx, t, node)
	}
}

// TestKubeadmRewrites writes kubelet's files again as kubeadm upgrade does, and restarts kubelet.
// The agent points kubelet at the shim again, and reports the drift.
func TestKubeadmRewrites(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	node := cluster.Nodes[0]
	before, err := readStatus(node)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.RewriteKubelet(); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Run(ctx, "systemctl", "restart", "kubelet"); err != nil {
		t.Fatal(err)
	}
	if err := bed.Await(ctx, func(context.Context) error {
		after, err := readStatus(node)
		if err != nil {
			return err
		}
		if after.Drift == nil || before.Drift != nil && after.Drift.Count == before.Drift.Count {
			return errors.New("no drift is reported")
		}
		t.Log("drift:", after.Drift.Found)
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
	awaitServing(ctx, t, node, oldVersion)
	runPublic(ctx, t, node)
}
