package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"image-cri-shim/e2e/cluster/bed"
)

// TestRemoveManifest deletes the namespace with the release and everything in it, which leaves
// the shim on the nodes, and then removes the shim by remove.yaml. A pod that never pulls runs
// afterwards with the public name of an image that the shim has pulled. The release can be
// installed again, and another one too.
func TestRemoveManifest(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	if err := cluster.Push(ctx, "library/never:1"); err != nil {
		t.Fatal(err)
	}
	runOnBoth(ctx, t, "before", corev1.PullIfNotPresent)

	deleteNamespace(ctx, t, namespace)
	for _, node := range cluster.Nodes {
		runPublic(ctx, t, node)
	}
	removal := applyRemoveManifest(ctx, t)
	awaitAvailable(ctx, t, removal.Namespace, removal.Name, len(cluster.Nodes))
	deleteNamespace(ctx, t, removal.Namespace)
	for _, node := range cluster.Nodes {
		wantPristine(ctx, t, node)
	}
	runOnBoth(ctx, t, "after", corev1.PullNever)

	if err := prepareNamespace(ctx, cluster); err != nil {
		t.Fatal(err)
	}
	if err := tryAnotherRelease(ctx); err == nil {
		t.Error("Helm permits another release, although the cluster has objects of the former one")
	}
	deleteRoles(ctx, t)
	if err := tryAnotherRelease(ctx); err != nil {
		t.Error(err)
	}
	install(ctx, t, oldVersion, goodValues())
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
	}
}

// runOnBoth runs a pod with the public name library/never:1 on each node.
func runOnBoth(ctx context.Context, t *testing.T, name string, policy corev1.PullPolicy) {
	t.Helper()
	for _, node := range shared.Nodes {
		pod := bed.Pod(name+"-"+node.Name, "docker.io/library/never:1", node)
		pod.Spec.Containers[0].ImagePullPolicy = policy
		err := shared.Create(ctx, pod)
		if err == nil {
			err = shared.AwaitRunning(ctx, pod)
		}
		if err == nil {
			err = shared.Delete(ctx, pod)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// deleteNamespace deletes a namespace, and returns once it is gone with everything in it.
func deleteNamespace(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	namespaces := shared.Client.CoreV1().Namespaces()
	err := namespaces.Delete(ctx, name, metav1.DeleteOptions{})
	if err == nil {
		err = bed.Await(ctx, func(ctx context.Context) error {
			left, err := namespaces.Get(ctx, name, metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				return nil
			case err == nil:
				err = fmt.Errorf("it still exists: %v", left.Status.Conditions)
			}
			return err
		})
	}
	if err != nil {
		t.Fatalf("delete the namespace %s: %v", name, err)
	}
}

// applyRemoveManifest creates the objects of the remove.yaml beside the chart, and returns its
// DaemonSet. The nodes have the image.
func applyRemoveManifest(ctx context.Context, t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	chart, err := bed.Chart(oldVersion)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(filepath.Dir(chart), "remove.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "image: IMAGE", "image: "+bed.RegistryHost+"/"+bed.AgentRepository+":"+oldVersion)
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), len(text))
	space, removal := new(corev1.Namespace), new(appsv1.DaemonSet)
	err = errors.Join(documents.Decode(space), documents.Decode(removal))
	if err == nil {
		_, err = shared.Client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{})
	}
	if err == nil {
		removal, err = shared.Client.AppsV1().DaemonSets(removal.Namespace).Create(ctx, removal, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return removal
}

// deleteRoles deletes the objects of the release that were not in its namespace, as the last step
// of remove.yaml.
func deleteRoles(ctx context.Context, t *testing.T) {
	t.Helper()
	rbac, ours := shared.Client.RbacV1(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=image-cri-shim"}
	if err := errors.Join(
		rbac.ClusterRoles().DeleteCollection(ctx, metav1.DeleteOptions{}, ours),
		rbac.ClusterRoleBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, ours),
		rbac.Roles(metav1.NamespaceSystem).DeleteCollection(ctx, metav1.DeleteOptions{}, ours),
		rbac.RoleBindings(metav1.NamespaceSystem).DeleteCollection(ctx, metav1.DeleteOptions{}, ours),
	); err != nil {
		t.Fatal(err)
	}
}

// tryAnotherRelease lets Helm check the installation of a release with another name.
func tryAnotherRelease(ctx context.Context) error {
	chart, err := bed.Chart(oldVersion)
	if err != nil {
		return err
	}
	_, err = shared.Helm(ctx, "install", "another", chart, "--namespace", namespace, "--dry-run=server", "--set", "image.repository=hub/agent")
	return err
}

// TestReinstall installs the release again while the DaemonSet of an uninstallation is still
// there, because its Job has not waited long enough. The release takes the DaemonSet over. Later,
// a second uninstallation finds no release, and changes nothing.
func TestReinstall(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues().with("hooks", values{"removalTimeout": "1ms"}))
	output, err := cluster.Helm(ctx, "uninstall", releaseName, "--namespace", namespace)
	if err == nil {
		t.Fatalf("helm uninstall has not waited for the removal, but succeeded: %s", output)
	}
	if left := leftObjects(ctx, t, "daemonsets"); len(left) != 1 || left[0] != daemonSet+"-remove" {
		t.Fatalf("the DaemonSets %s remain, want the one that removes the shim", left)
	}
	install(ctx, t, oldVersion, goodValues())
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
		runPublic(ctx, t, node)
	}
	if pods, err := agentPods(ctx, "remove"); err != nil || len(pods) > 0 {
		t.Errorf("%d pods still remove the shim: %v", len(pods), err)
	}

	uninstall(ctx, t)
	if output, err := cluster.Helm(ctx, "uninstall", releaseName, "--namespace", namespace); err == nil || !strings.Contains(output, "not found") {
		t.Errorf("the second helm uninstall: %v: %s, want that the release is not found", err, output)
	}
	for _, node := range cluster.Nodes {
		wantPristine(ctx, t, node)
	}
	for _, kind := range []string{"daemonsets", "jobs", "pods", "serviceaccounts"} {
		if names := leftObjects(ctx, t, kind); len(names) > 0 {
			t.Errorf("%s remain: %s", kind, names)
		}
	}
	if names := configurationSecrets(ctx, t); len(names) > 0 {
		t.Errorf("the Secrets %s with configurations remain", names)
	}
}
