package scale

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// upgrades is the number of upgrades of TestSecrets. Kubernetes keeps 10 revisions of a
// DaemonSet that no pod has.
const upgrades = 14

// TestSecrets changes the configuration many times while nodes still have former ones. After
// each upgrade, the hook has deleted exactly the Secrets that neither a revision of the
// DaemonSet nor a pod names.
func TestSecrets(t *testing.T) {
	ctx := testContext(t)
	install(ctx, t, goodValues())
	v := goodValues().with("maxUnavailable", "1%")
	for number := range upgrades {
		v = v.with("config", goodConfig(10+number))
		measure(ctx, t, "an upgrade with the hook prune", func() { upgrade(ctx, t, v) })
		awaitUpdated(ctx, t, 1)
		t.Logf("measured after %d upgrades: %d Secrets", number+1, len(configurations(ctx, t)))
	}
	upgrade(ctx, t, v.with("maxUnavailable", "100%"))
	awaitAgents(ctx, t, rolledOut(nodes()))
	measure(ctx, t, "the last upgrade", func() { upgrade(ctx, t, v.with("maxUnavailable", "50%")) })
	used := make(map[string]bool)
	for _, pod := range agentPods(ctx, t) {
		used[secretOf(pod.Spec)] = true
	}
	if len(used) != 1 {
		t.Errorf("the pods have the configurations %v, want one", slices.Sorted(maps.Keys(used)))
	}
	revisions, err := shared.Client.AppsV1().ControllerRevisions(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range revisions.Items {
		var patch struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		}
		if err := json.Unmarshal(revision.Data.Raw, &patch); err != nil {
			t.Fatal(err)
		}
		used[secretOf(patch.Spec.Template.Spec)] = true
	}
	secrets := configurations(ctx, t)
	if want := slices.Sorted(maps.Keys(used)); !slices.Equal(secrets, want) {
		t.Errorf("found the Secrets %v, want %v", secrets, want)
	}
	if len(secrets) > 11 {
		t.Errorf("found %d Secrets, want at most 11", len(secrets))
	}
	t.Logf("measured at the end: %d Secrets, %d revisions", len(secrets), len(revisions.Items))
}

// configurations returns the names of the Secrets with configurations.
func configurations(ctx context.Context, t *testing.T) (names []string) {
	t.Helper()
	list, err := shared.Client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "image-cri-shim.io/daemonset=" + daemonSet})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range list.Items {
		names = append(names, secret.Name)
	}
	slices.Sort(names)
	return names
}
