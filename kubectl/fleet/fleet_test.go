package fleet

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRead reads a fleet with pods in several states. Those that are not ready come first, and a
// node shows its newest pod that is not deleted.
func TestRead(t *testing.T) {
	ready, refused := recordedPod(t, "ready"), recordedPod(t, "refused")
	deleted, evicted := on(refused, "b", "deleted"), on(refused, "b", "evicted")
	deleted.DeletionTimestamp = new(metav1.Now())
	deleted.CreationTimestamp = metav1.NewTime(time.Now().Add(time.Hour))
	evicted.Status = corev1.PodStatus{Phase: corev1.PodFailed}
	evicted.CreationTimestamp = deleted.CreationTimestamp
	hook := on(ready, "d", "hook")
	hook.Labels = map[string]string{"app.kubernetes.io/name": "image-cri-shim", "app.kubernetes.io/component": "prune"}
	s := &apiserver{pods: []corev1.Pod{
		deleted, on(ready, "b", "new"), evicted, on(ready, "a", "a"), on(refused, "z", "z"),
		on(recordedPod(t, "removed"), "c", "c"), hook, on(recordedPod(t, "pull-failing"), "a", "missing"),
	}}
	f := read(t, s, Options{})
	wantRows(t, f, "z refused", "a ready", "b ready", "c removed")
	if n := f.Nodes[1]; *n.PullsFailing != 1 || n.ImagesFailing[0].Image != "docker.io/library/missing:1" || !strings.Contains(n.ImagesFailing[0].Message, "image-cri-shim tried before") {
		t.Errorf("found %+v, want one failing pull", n)
	}
	sum := f.Summary
	if sum.Nodes != 4 || sum.Ready != 3 || sum.States[Refused] != 1 || sum.Versions["v0.1.0"] != 3 || len(sum.Configurations) != 2 || *sum.PullsFailing != 1 {
		t.Errorf("the summary is %+v", sum)
	}
	wantRows(t, read(t, s, Options{NotReady: true}), "z refused")
	wantRows(t, read(t, s, Options{Nodes: []string{"a", "z"}}), "z refused", "a ready")
	if _, err := Read(t.Context(), s.client(t), Options{Nodes: []string{"d"}}); !errors.Is(err, ErrNoAgents) || !strings.Contains(err.Error(), "node d") {
		t.Errorf("a node without an agent: %v", err)
	}
	if _, err := Read(t.Context(), (&apiserver{}).client(t), Options{}); !errors.Is(err, ErrNoAgents) {
		t.Errorf("no agents: %v", err)
	}
}

// TestSeveralReleases requires a row for each release of a node.
func TestSeveralReleases(t *testing.T) {
	other := on(recordedPod(t, "refused"), "a", "other")
	other.Namespace, other.Labels[releaseLabel] = "other", "two"
	s := &apiserver{pods: []corev1.Pod{on(recordedPod(t, "ready"), "a", "a"), other, on(recordedPod(t, "pull-failing"), "a", "missing")}}
	f := read(t, s, Options{})
	wantRows(t, f, "a refused", "a ready")
	if *f.Summary.PullsFailing != 1 {
		t.Errorf("%d pulls fail, want that the node's one counts once", *f.Summary.PullsFailing)
	}
	wantRows(t, read(t, s, Options{Namespace: "other"}), "a refused")
}

// TestOnlyOneNamespace requires that a user with access to the pods of one namespace sees its
// agents, and that the result names the missing parts.
func TestOnlyOneNamespace(t *testing.T) {
	s := &apiserver{
		pods:      []corev1.Pod{on(recordedPod(t, "ready"), "a", "a"), on(recordedPod(t, "unready"), "b", "b")},
		forbidden: []string{"/api/v1/pods", "/api/v1/namespaces/image-cri-shim/events", "/api/v1/namespaces/default/pods"},
	}
	f := read(t, s, Options{Fallback: "image-cri-shim"})
	wantRows(t, f, "b not-ready", "a ready")
	if f.Nodes[0].PullsFailing != nil || f.Summary.PullsFailing != nil || len(f.Notes) != 3 {
		t.Errorf("found %+v, want no pulls and three notes", f)
	}
	if _, err := Read(t.Context(), s.client(t), Options{Fallback: "empty"}); !errors.Is(err, ErrNoAgents) || !strings.Contains(err.Error(), "only those of namespace empty") {
		t.Errorf("no agents in the fallback: %v, want that it names the namespace", err)
	}
	for _, options := range []Options{{Fallback: "default"}, {Namespace: "default", Fallback: "image-cri-shim"}} {
		if _, err := Read(t.Context(), s.client(t), options); !apierrors.IsForbidden(err) {
			t.Errorf("%+v: %v, want that it is forbidden", options, err)
		}
	}
}

// TestOtherErrors requires that an error of the apiserver is not taken for a missing permission.
func TestOtherErrors(t *testing.T) {
	s := &apiserver{pods: slices.Repeat([]corev1.Pod{*recordedPod(t, "ready")}, pageSize+1), expire: 100}
	if _, err := Read(t.Context(), s.client(t), Options{}); !apierrors.IsResourceExpired(err) || !strings.Contains(err.Error(), "list the pods of the agents") {
		t.Errorf("error %v, want that the token expires", err)
	}
}

func read(t *testing.T, s *apiserver, options Options) *Fleet {
	t.Helper()
	f, err := Read(t.Context(), s.client(t), options)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantRows(t *testing.T, f *Fleet, want ...string) {
	t.Helper()
	var got []string
	for _, n := range f.Nodes {
		got = append(got, n.Node+" "+string(n.State))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the rows are %q, want %q", got, want)
	}
}
