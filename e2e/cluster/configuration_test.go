package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/cluster/bed"
)

// TestBadConfigurationStops rolls out a configuration that the shim refuses, and one whose
// registry no node reaches. Each stops at the first node, which goes on with the configuration
// before, and the reason is in the pod's status. A rollback ends it.
func TestBadConfigurationStops(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	for name, bad := range map[string]struct {
		config any
		reason string // part of the message in the pod's status
	}{
		"refused":     {"address: http://" + bed.RegistryHost + "\ntimeot: 3s\n", "timeot"}, // a text, which the chart does not check
		"unreachable": {values{"address": "http://" + bed.UnreachableHost}, bed.UnreachableHost},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
			defer cancel()
			err := upgrade(ctx, t, oldVersion, goodValues().with("config", bad.config).with("registryGate", "all"), "--wait", "--timeout", "25s")
			if err == nil {
				t.Error("helm upgrade --wait succeeded")
			}
			t.Log(err)
			stopped := awaitReason(ctx, t, bad.reason)
			for _, node := range cluster.Nodes {
				if node.Name != stopped {
					awaitServing(ctx, t, node, oldVersion)
				}
				runPublic(ctx, t, node)
			}
			if _, err := cluster.Helm(ctx, "rollback", releaseName, "--namespace", namespace); err != nil {
				t.Fatal(err)
			}
			awaitRollout(ctx, t, daemonSet)
			for _, node := range cluster.Nodes {
				awaitServing(ctx, t, node, oldVersion)
				runPublic(ctx, t, node)
			}
		})
	}
}

// awaitReason waits until the pod of exactly one node is not ready with a reason in its status,
// and returns the node's name.
func awaitReason(ctx context.Context, t *testing.T, reason string) (node string) {
	t.Helper()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		pods, err := agentPods(ctx, "agent")
		if err != nil {
			return err
		}
		var unready []error
		for name, pod := range pods {
			if err := bed.CheckRunning(&pod); err != nil {
				node, unready = name, append(unready, err)
			}
		}
		if len(unready) != 1 || !strings.Contains(unready[0].Error(), reason) {
			return fmt.Errorf("want one pod that is not ready because of %q, have %d: %v", reason, len(unready), unready)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
	return node
}

// TestGoodConfiguration rolls out another configuration, which reaches both nodes, and rolls it
// back. No kubelet restarts for either.
func TestGoodConfiguration(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	kubelets := kubeletProcesses(ctx, t)
	install(ctx, t, oldVersion, goodValues().with("config", values{"address": "http://" + bed.RegistryHost, "timeout": "4s"}))
	wantConfiguration(t, true, "timeout: 4s")
	if _, err := cluster.Helm(ctx, "rollback", releaseName, "--namespace", namespace); err != nil {
		t.Fatal(err)
	}
	awaitRollout(ctx, t, daemonSet)
	wantConfiguration(t, false, "timeout: 4s")
	if now := kubeletProcesses(ctx, t); fmt.Sprint(now) != fmt.Sprint(kubelets) {
		t.Errorf("kubelet restarted: the processes were %v, are %v", kubelets, now)
	}
}

func wantConfiguration(t *testing.T, contained bool, text string) {
	t.Helper()
	for _, node := range shared.Nodes {
		content, err := node.ReadFile("/etc/image-cri-shim.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) != contained {
			t.Errorf("%s: the configuration contains %q: %v, want %v", node.Name, text, !contained, contained)
		}
	}
}

// kubeletProcesses returns the process ID of kubelet on each node.
func kubeletProcesses(ctx context.Context, t *testing.T) (processes []string) {
	t.Helper()
	for _, node := range shared.Nodes {
		processes = append(processes, mainProcess(ctx, t, node, "kubelet"))
	}
	return processes
}

func mainProcess(ctx context.Context, t *testing.T, node *bed.Node, unit string) string {
	t.Helper()
	process, err := node.Run(ctx, "systemctl", "show", "--value", "--property", "MainPID", unit)
	if err != nil {
		t.Fatal(err)
	}
	return process
}
