package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestPrune requires that Prune deletes exactly the Secrets that nothing can use any more.
func TestPrune(t *testing.T) {
	agent := daemonSetOf("agent", mounting("in-template", "login"))
	other := daemonSetOf("other", corev1.PodSpec{})
	mutable := configuration("mutable", "agent")
	mutable.Immutable = nil
	client := fake.NewClientset(agent, other,
		revisionOf(t, agent, "agent-1", mounting("in-revision")),
		revisionOf(t, other, "other-1", mounting("of-another-daemonset")),
		podOf(agent, "a", mounting("in-pod"), corev1.PodStatus{}),
		configuration("in-template", "agent"),
		configuration("in-revision", "agent"),
		configuration("in-pod", "agent"),
		configuration("kept", "agent"),
		configuration("unused", "agent"),
		configuration("of-another-daemonset", "agent"),
		configuration("of-another-release", "agent-2"),
		mutable,
		&corev1.Secret{ObjectMeta: meta("login", nil)},
	)
	deleted, err := Prune(t.Context(), client, namespace, "agent", "kept")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(deleted)
	if want := []string{"of-another-daemonset", "unused"}; !slices.Equal(deleted, want) {
		t.Errorf("deleted %q, want %q", deleted, want)
	}
	if left, want := secretNames(t, client), []string{"in-pod", "in-revision", "in-template", "kept", "login", "mutable", "of-another-release"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

// TestPruneDeletesNothingOnErrors requires that Prune deletes nothing if it can't read all
// objects that may name a Secret.
func TestPruneDeletesNothingOnErrors(t *testing.T) {
	for _, resource := range []string{"daemonsets", "controllerrevisions", "pods"} {
		client := fake.NewClientset(daemonSetOf("agent", corev1.PodSpec{}), configuration("unused", "agent"))
		client.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("apiserver failed")
		})
		if _, err := Prune(t.Context(), client, namespace, "agent", ""); err == nil || !strings.HasSuffix(err.Error(), "apiserver failed") {
			t.Errorf("%s: error %v, want the apiserver's", resource, err)
		}
		if left := secretNames(t, client); len(left) != 1 {
			t.Errorf("%s: left %q, want the unused Secret", resource, left)
		}
	}
}
