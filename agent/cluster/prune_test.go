package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// TestPruneInPages requires that the Secrets are read in pages, because each may have 1 MiB, and
// that those of all pages are deleted.
func TestPruneInPages(t *testing.T) {
	const most, secrets = 20, 45
	client := fake.NewClientset(daemonSetOf("agent", corev1.PodSpec{}))
	var names []string
	for number := range secrets {
		names = append(names, fmt.Sprintf("unused-%02d", number))
	}
	client.PrependReactor("list", "secrets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		options := action.(clienttesting.ListActionImpl).ListOptions
		if options.Limit < 1 || options.Limit > most {
			t.Errorf("a list has the limit %d, want at most %d", options.Limit, most)
		}
		from, _ := strconv.Atoi(options.Continue)
		to := min(from+most, secrets)
		page := &corev1.SecretList{}
		for _, name := range names[from:to] {
			page.Items = append(page.Items, *configuration(name, "agent"))
		}
		if to < secrets {
			page.Continue = strconv.Itoa(to)
		}
		return true, page, nil
	})
	client.PrependReactor("delete", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	deleted, err := Prune(t.Context(), client, namespace, "agent", "unused-44")
	if want := names[:secrets-1]; err != nil || !slices.Equal(deleted, want) {
		t.Errorf("deleted %q (%v), want %q", deleted, err, want)
	}
}
