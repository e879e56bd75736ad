package rewrite

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/naming"
)

// TestDecisionOutcomes makes a call for each outcome of each kind of method.
func TestDecisionOutcomes(t *testing.T) {
	const original, theirs = "docker.io/library/nginx:1.25", hub + "/library/nginx:1.25"
	pull := func(n *node) { _, _ = n.pull("nginx:1.25", nil) }
	for _, test := range []struct {
		name    string
		prepare func(*node)
		call    func(*node)
		want    Outcome
	}{
		{"pull/registry", func(n *node) { n.push(theirs) }, pull, OutcomeRegistry},
		{"pull/absent", func(n *node) { n.push(original) }, pull, OutcomeAbsent},
		{"pull/fallback as it is down", func(n *node) { n.push(original); n.registry.down = true }, pull, OutcomeFallback},
		{"pull/fallback as it lies", func(n *node) { n.push(original); n.registry.lies = true }, pull, OutcomeFallback},
		{"pull/refused", func(n *node) { n.push(original); forbid(n, "docker.io/library/nginx") }, pull, OutcomeRefused},
		{"pull/refused without a name", func(n *node) { forbid(n, "") }, func(n *node) { _, _ = n.pull("A:b:c", nil) }, OutcomeRefused},
		{"pull/failed", func(*node) {}, pull, OutcomeFailed},
		{"pull/original by its own name", func(n *node) { n.push(theirs) }, func(n *node) {
			_, _ = n.pull(theirs, &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"})
		}, OutcomeOriginal},
		{"status/none", func(*node) {}, func(n *node) { n.status("nginx:1.25") }, OutcomeNone},
		{"status/registry", func(n *node) { n.push(theirs); pull(n) }, func(n *node) { n.status("nginx:1.25") }, OutcomeRegistry},
		{"status/original", func(n *node) { n.push(original); pull(n) }, func(n *node) { n.status("nginx:1.25") }, OutcomeOriginal},
		{"status/failed for a registry's reference", func(*node) {}, func(n *node) {
			_, _ = n.ask("runtime.v1", "ImageStatus", "nginx:1.25", n.runtime.failing(status.Error(codes.Internal, "boom"), theirs))
		}, OutcomeFailed},
		{"remove/none", func(*node) {}, func(n *node) { n.remove("nginx:1.25") }, OutcomeNone},
		{"remove/removed", func(n *node) { n.push(theirs); pull(n) }, func(n *node) { n.remove("nginx:1.25") }, OutcomeRemoved},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			test.prepare(n)
			n.decisions = nil
			test.call(n)
			if len(n.decisions) != 1 || n.decisions[0].Outcome != test.want {
				t.Errorf("decisions %+v, want one with the outcome %q", n.decisions, test.want)
			}
		})
	}
}

// TestDecisionNames checks where the name of a pulled image is kept.
func TestDecisionNames(t *testing.T) {
	const original, theirs = "docker.io/library/nginx:1.25", hub + "/library/nginx:1.25"
	for pushed, want := range map[string]naming.Mode{original: "", theirs: naming.InLedger} {
		n := newNode(t)
		n.push(pushed)
		n.decisions = nil
		n.pull("nginx:1.25", nil)
		if len(n.decisions) != 1 || n.decisions[0].Names != want {
			t.Errorf("%s: decisions %+v, want one with the name in %q", pushed, n.decisions, want)
		}
	}
}

// forbid forbids pulls from original registries.
func forbid(n *node, never string) {
	l := n.rewriter.lookup.(memoryLookup)
	l.never = []string{never}
	n.rewriter.lookup = l
}

// TestMethods checks that Methods contains the intercepted methods and a few others.
func TestMethods(t *testing.T) {
	methods, rewriter := Methods(), New(Options{})
	want := []string{"/runtime.v1.RuntimeService/Version", "/runtime.v1alpha2.RuntimeService/Version", "/runtime.v1.RuntimeService/GetContainerEvents"}
	for method := range rewriter.Unary() {
		want = append(want, method)
	}
	for method := range rewriter.Stream() {
		want = append(want, method)
	}
	for _, method := range want {
		if !slices.Contains(methods, method) {
			t.Errorf("%s is missing", method)
		}
	}
	slices.Sort(methods)
	if got := len(slices.Compact(methods)); got != len(Methods()) || got < 80 {
		t.Errorf("%d different methods of %d", got, len(Methods()))
	}
}
