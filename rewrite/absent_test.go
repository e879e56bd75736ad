package rewrite

import "testing"

// TestAbsent requires that a failed pull counts as that of an absent image only if no lookup
// and no pull has failed for another reason.
func TestAbsent(t *testing.T) {
	const theirs = hub + "/library/nginx:1.25"
	for name, test := range map[string]struct {
		prepare func(*node)
		want    bool
	}{
		"no registry has it":                     {func(*node) {}, true},
		"a registry has it":                      {func(n *node) { n.push(theirs) }, false},
		"the original has it":                    {func(n *node) { n.push("docker.io/library/nginx:1.25") }, false},
		"a registry is down":                     {func(n *node) { n.registry.down = true }, false},
		"a registry lies":                        {func(n *node) { n.registry.lies = true }, false},
		"no registry has it, and fallback never": {func(n *node) { forbid(n, "docker.io/library/nginx") }, true},
		"a registry is down, and fallback never": {func(n *node) { forbid(n, "docker.io/library/nginx"); n.registry.down = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			test.prepare(n)
			n.decisions = nil
			_, err := n.pull("nginx:1.25", nil)
			if len(n.decisions) != 1 || n.decisions[0].Absent != test.want {
				t.Errorf("%v: decisions %+v, want one with Absent %v", err, n.decisions, test.want)
			}
		})
	}
}
