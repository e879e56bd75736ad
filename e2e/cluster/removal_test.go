package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/e2e/cluster/bed"
)

// wantPristine requires that the files of a node are those from before the first installation.
func wantPristine(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	now, err := node.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range pristine[slices.Index(shared.Nodes, node)].Differences(now) {
		t.Errorf("%s: %s", node.Name, line)
	}
	if _, err := os.Lstat(node.Path(shimSocket)); err == nil {
		t.Errorf("%s: %s remains", node.Name, shimSocket)
	}
	units, err := node.Run(ctx, "systemctl", "list-units", "--all", "--plain", "--no-legend", "image-cri-shim*")
	if err != nil || units != "" {
		t.Errorf("%s: systemd still lists units: %v %s", node.Name, err, units)
	}
}

// TestUninstall removes the shim from the whole cluster. The files of the nodes are those
// from before, and an image that was pulled through the shim is found under its public name.
func TestUninstall(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	if err := cluster.Push(ctx, "library/kept:1"); err != nil {
		t.Fatal(err)
	}
	pod := bed.Pod("kept", "docker.io/library/kept:1", cluster.Nodes[0])
	if err := cluster.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Delete(ctx, pod); err != nil {
			t.Error(err)
		}
	}()
	if err := cluster.AwaitRunning(ctx, pod); err != nil {
		t.Fatal(err)
	}
	observer, err := cluster.Observe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	uninstall(ctx, t)
	for _, problem := range observer.Stop() {
		t.Error(problem)
	}
	for _, node := range cluster.Nodes {
		wantPristine(ctx, t, node)
	}
	for _, kind := range []string{"daemonsets", "jobs", "pods", "serviceaccounts"} {
		if names := leftObjects(ctx, t, kind); len(names) > 0 {
			t.Errorf("%s remain: %s", kind, names)
		}
	}
	again := bed.Pod("again", "docker.io/library/kept:1", cluster.Nodes[0])
	if err := cluster.Create(ctx, again); err != nil {
		t.Fatal(err)
	}
	if err := cluster.AwaitRunning(ctx, again); err != nil {
		t.Error(err)
	}
	if err := cluster.Delete(ctx, again); err != nil {
		t.Error(err)
	}
}

// leftObjects returns the names of the release's objects of a kind.
func leftObjects(ctx context.Context, t *testing.T, kind string) (names []string) {
	t.Helper()
	apis := map[string]string{"daemonsets": "/apis/apps/v1", "jobs": "/apis/batch/v1", "pods": "/api/v1", "serviceaccounts": "/api/v1"}
	content, err := shared.Client.Discovery().RESTClient().Get().AbsPath(apis[kind], "namespaces", namespace, kind).DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	for _, item := range list.Items {
		if strings.Contains(item.Name, releaseName) && item.DeletionTimestamp == nil {
			names = append(names, item.Name)
		}
	}
	return names
}

// TestOptOut takes one node out by a label, and back in.
func TestOptOut(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	out, other := cluster.Nodes[1], cluster.Nodes[0]
	setLabel(ctx, t, out, enabledLabel, "false")
	defer setLabel(ctx, t, out, enabledLabel, "")
	awaitTakenOut(ctx, t, out)
	if _, err := out.ReadFile("/etc/image-cri-shim.yaml"); err == nil {
		t.Error("the configuration remains")
	}
	runPublic(ctx, t, other)
	setLabel(ctx, t, out, enabledLabel, "")
	awaitServing(ctx, t, out, oldVersion)
	runPublic(ctx, t, out)
}

// awaitTakenOut waits until the shim is removed from a node with the label, and from no other.
func awaitTakenOut(ctx context.Context, t *testing.T, out *bed.Node) {
	t.Helper()
	awaitAvailable(ctx, t, namespace, daemonSet+"-remove", 1)
	pods, err := agentPods(ctx, "remove")
	if err != nil {
		t.Fatal(err)
	}
	if _, found := pods[out.Name]; !found || len(pods) != 1 {
		t.Fatalf("%d pods remove the shim, want one on %s", len(pods), out.Name)
	}
}

// awaitAvailable waits until a DaemonSet that removes the shim has an available pod on each of its
// nodes. A pod may be ready before, because the removal restarts kubelet.
func awaitAvailable(ctx context.Context, t *testing.T, namespace, name string, nodes int) {
	t.Helper()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		set, err := shared.Client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && (int(set.Status.DesiredNumberScheduled) != nodes || int(set.Status.NumberAvailable) != nodes) {
			err = fmt.Errorf("%+v", set.Status)
		}
		return err
	}); err != nil {
		t.Fatalf("the DaemonSet %s is not available on %d nodes: %v\n%s", name, nodes, err, agentState(ctx))
	}
}

// TestNodeDownDuringUninstall removes the shim while a node is down. The node is cleaned when it
// returns.
func TestNodeDownDuringUninstall(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	up, down := cluster.Nodes[0], cluster.Nodes[1]
	down.PowerOff()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		node, err := cluster.Client.CoreV1().Nodes().Get(ctx, down.Name, metav1.GetOptions{})
		if err == nil && bed.CheckReady(node) == nil {
			err = errors.New("the node that is down is still ready")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	uninstall(ctx, t)
	wantPristine(ctx, t, up)
	if err := down.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cluster.AwaitReady(ctx, down); err != nil {
		t.Fatal(err)
	}
	awaitAvailable(ctx, t, namespace, daemonSet+"-remove", len(cluster.Nodes))
	if err := cluster.Client.AppsV1().DaemonSets(namespace).Delete(ctx, daemonSet+"-remove", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	wantPristine(ctx, t, down)
}
