package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"image-cri-shim/e2e/cluster/bed"
)

// stops requires that a configuration stops at one node with a reason, and the other one has the
// configuration before.
func (v *fleetView) stops(ctx context.Context, t *testing.T, state, before, reason, step string, changes shown) {
	t.Helper()
	node := awaitRefusal(ctx, t, reason)
	row := func(name string) string {
		if name == node.Name {
			return name + " v0.1.0 refused 0"
		}
		return name + " v0.1.0 ready 0"
	}
	requested := []string{nodes(1, before, oldVersion), nodes(1, shortHash(t, node), oldVersion)}
	v.want(ctx, t, state, shown{
		"Ready": "1", "Not ready": "1", "Nodes by state A": "state:ready = 1\nstate:refused = 1",
		"Nodes not ready": fmt.Sprintf("instance:%s reason:.*%s.* state:refused step:%s = 1", node.Name, reason, step),
		"Releases A":      requested[0] + "\n" + requested[1] + "|" + requested[1] + "\n" + requested[0],
		"Failed attempts": "instance:" + node.Name + ` = \d`,
	}.with(changes), row("node1"), row("node2"))
}

// awaitRefusal waits until the agent of a node is not ready for a reason, and returns the node.
func awaitRefusal(ctx context.Context, t *testing.T, reason string) (refusing *bed.Node) {
	t.Helper()
	if err := bed.Await(ctx, func(context.Context) error {
		var all []error
		for _, node := range shared.Nodes {
			s, err := readStatus(node)
			if err == nil && !s.Ready && s.Step == "" && strings.Contains(s.Reason, reason) {
				refusing = node
				return nil
			}
			all = append(all, err, fmt.Errorf("the status of %s is %+v", node.Name, s))
		}
		return errors.Join(all...)
	}); err != nil {
		t.Fatalf("no node refuses because of %q: %v\n%s", reason, err, agentState(ctx))
	}
	return refusing
}

// changeByHand adds a line to the configuration on a node, and waits until the agent has removed it.
func changeByHand(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	before := readNodeFile(t, node, nodeFile)
	if err := os.WriteFile(node.Path(nodeFile), []byte(before+"# by hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bed.Await(ctx, func(context.Context) error {
		if s, err := readStatus(node); err != nil || s.Drift == nil {
			return fmt.Errorf("no drift is reported: %w", err)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
}

// failPulls lets pulls on a node fail while the private registry is down, and calls check.
func failPulls(ctx context.Context, t *testing.T, node *bed.Node, check func()) {
	t.Helper()
	shared.Registry.Stop()
	pod := bed.Pod("absent", "docker.io/library/absent:1", node)
	defer func() {
		if err := errors.Join(shared.Registry.Start(ctx), shared.Delete(context.WithoutCancel(ctx), pod)); err != nil {
			t.Error(err)
		}
	}()
	if err := shared.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	check()
}

// awaitAge waits until the agents' pods are ready for a time.
func awaitAge(ctx context.Context, t *testing.T, age time.Duration) {
	t.Helper()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		pods, err := agentPods(ctx, "agent")
		if err != nil {
			return err
		}
		for name, pod := range pods {
			for _, condition := range pod.Status.Conditions {
				if condition.Type == corev1.PodReady && (condition.Status != corev1.ConditionTrue || time.Since(condition.LastTransitionTime.Time) < age+time.Second) {
					return fmt.Errorf("%s: %+v", name, condition)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// nodes returns the line of nodes with a release.
func nodes(count int, configuration, version string) string {
	return fmt.Sprintf("configuration:%s version:%s = %d", configuration, version, count)
}

// shortHash returns the beginning of the hash of the requested configuration, as in the metrics.
func shortHash(t *testing.T, node *bed.Node) string {
	t.Helper()
	s, err := readStatus(node)
	if err != nil || len(s.Hash) < 12 {
		t.Fatalf("%s: the hash is %q: %v", node.Name, s.Hash, err)
	}
	return s.Hash[:12]
}
