package cluster

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	liveSecret = daemonSet + "-live"

	// seconds is the limit for a change that agents watch. A volume with a Secret would follow
	// later.
	seconds = 30 * time.Second
)

func liveValues() values { return goodValues().with("live", true) }

// TestLive changes the Secret that the agents watch. A change is applied on both nodes within
// seconds. One that the shim refuses, and the deletion of the Secret, change nothing.
func TestLive(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, liveValues())
	started, err := startedAgents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	changed := readNodeFile(t, cluster.Nodes[0], nodeFile) + "timeout: 4s\n"

	began := time.Now()
	setSecret(ctx, t, liveSecret, changed)
	limited, cancel := context.WithTimeout(ctx, seconds)
	defer cancel()
	for _, node := range cluster.Nodes {
		awaitContent(limited, t, node, nodeFile, "timeout: 4s")
	}
	t.Logf("both nodes have the change after %v", time.Since(began).Round(100*time.Millisecond))
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
	}

	setSecret(ctx, t, liveSecret, changed+"timeot: 3s\n")
	for _, node := range cluster.Nodes {
		awaitUnready(ctx, t, node, "timeot")
		if now := readNodeFile(t, node, nodeFile); now != changed {
			t.Errorf("%s: the configuration is %q, want %q", node.Name, now, changed)
		}
		runPublic(ctx, t, node)
	}

	setSecret(ctx, t, liveSecret, changed)
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
	}
	shims := shimProcesses(ctx, t)
	deleted := time.Now()
	if err := cluster.Client.CoreV1().Secrets(namespace).Delete(ctx, liveSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, node := range cluster.Nodes {
		awaitCheck(ctx, t, node, deleted)
		awaitServing(ctx, t, node, oldVersion)
		if now := readNodeFile(t, node, nodeFile); now != changed {
			t.Errorf("%s: the configuration is %q, want %q", node.Name, now, changed)
		}
	}
	now, err := startedAgents(ctx)
	if err != nil || !maps.Equal(now, started) {
		t.Errorf("the agents were %v, are %v: %v", started, now, err)
	}

	// An agent that starts without the Secret leaves the node as it is, and says why.
	node := cluster.Nodes[0]
	deleteAgent(ctx, t, node)
	awaitUnready(ctx, t, node, "does Secret "+namespace+"/"+liveSecret)
	if now := readNodeFile(t, node, nodeFile); now != changed {
		t.Errorf("%s: the configuration is %q, want %q", node.Name, now, changed)
	}
	runPublic(ctx, t, node)
	if now := shimProcesses(ctx, t); !slices.Equal(now, shims) {
		t.Errorf("the shim restarted: the processes were %v, are %v", shims, now)
	}
	install(ctx, t, oldVersion, liveValues().with("minReadySeconds", 0)) // a change, or Helm would not mend
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
	}
}
