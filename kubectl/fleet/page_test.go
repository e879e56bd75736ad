package fleet

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestPages reads more pods than a page has. A token that expires is replaced by the one that the
// apiserver offers, or the list is begun again. Each pod counts once.
func TestPages(t *testing.T) {
	const nodes = 2*pageSize + 7
	ready, missing := recordedPod(t, "ready"), recordedPod(t, "pull-failing")
	for _, pod := range []*corev1.Pod{ready, missing} { // small pods, so that the test is fast
		pod.Annotations, pod.OwnerReferences, pod.Spec = nil, nil, corev1.PodSpec{}
	}
	var pods []corev1.Pod
	for i := range nodes {
		pods = append(pods, on(ready, fmt.Sprintf("n%04d", i), fmt.Sprint("agent-", i)), on(missing, fmt.Sprintf("n%04d", i), fmt.Sprint("missing-", i)))
	}
	for name, test := range map[string]struct {
		expire   int
		offer    bool
		requests int
	}{
		"no expired token":     {0, false, 3 + 5},
		"another token":        {1, true, 4 + 5},
		"several tokens":       {7, true, 3 + 5 + 7},
		"from the start":       {1, false, 2 + 3 + 5},
		"twice from the start": {2, false, 2 + 2 + 3 + 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := &apiserver{pods: pods, expire: test.expire, offer: test.offer}
			f := read(t, s, Options{})
			if len(f.Nodes) != nodes || *f.Summary.PullsFailing != nodes {
				t.Errorf("found %d nodes with %d failing pulls, want %d of each", len(f.Nodes), *f.Summary.PullsFailing, nodes)
			}
			if len(s.requests) != test.requests {
				t.Errorf("%d requests, want %d:\n%s", len(s.requests), test.requests, strings.Join(s.requests, "\n"))
			}
		})
	}
}
