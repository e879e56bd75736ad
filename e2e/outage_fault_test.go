package e2e

import (
	"fmt"
	"strings"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// TestEveryRegistryIsABlackHole requires that only the first pull waits for the unresponsive
// registries. Later pulls skip them without a request until one returns.
func TestEveryRegistryIsABlackHole(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		const registries = 3
		back := make(chan struct{})
		configuration := "debug: true\nlookupTimeout: 1s\nregistries:\n"
		for range registries {
			registry := testbed.StartFaultyRegistry(testbed.HangUntil(back), nil)
			t.Cleanup(registry.Close)
			configuration += "- address: " + registry.Address() + "\n"
		}
		n := newNode(t, runtime, configuration)
		problem := func(name, reason string) string { // of a pull
			t.Helper()
			n.pull(t, n.through, "docker.io/library/"+name, callerLogin)
			decision := n.decision(t, "docker.io/library/"+name)
			if got := strings.Count(decision.Reason, reason); decision.Registry != "docker.io" || got != registries {
				return fmt.Sprintf("the shim logged %+v, want %q of %d registries", decision, reason, registries)
			}
			return ""
		}
		pull := func(name, reason string) {
			t.Helper()
			if found := problem(name, reason); found != "" {
				t.Error(found)
			}
		}
		pull("nginx:1.25", "(could not ask: no answer within 1s)")
		pull("same:1", "(could not ask: known to be down since ")
		n.wantStatus(t, "same:1", shared.id(t, shared.upstream, "library/same:1"))
		n.remove(t, n.through, "same:1")
		pull("original:1", "(could not ask: known to be down since ")
		close(back)
		eventually(t, func() string { return problem("nginx:1.25", "(absent)") })
	})
}
