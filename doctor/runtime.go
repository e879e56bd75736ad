package doctor

import (
	"context"
	"strings"
)

// checkRuntime reports whether the runtime answers, and its name and version.
func checkRuntime(_ context.Context, n *node) []Finding {
	t := topic{"runtime", n.Settings.Runtime}
	const dead = "start the runtime, or set the key cri to its socket"
	switch c := n.runtime; {
	case c.dialErr != nil:
		return []Finding{dialFinding(t, c.dialErr, "cri", dead)}
	case !c.answers():
		return []Finding{t.fail("see the runtime's log, or set the key cri to the runtime's socket", "the socket accepts connections, but calls fail: %v", c.callErr)}
	case c.versions[0] != "v1":
		return []Finding{t.warn("update the runtime: kubelet 1.26 and later support only CRI v1", "%s, CRI %s", c.name(), c.versions[0])}
	default:
		return []Finding{t.ok("%s, CRI %s", c.name(), strings.Join(c.versions, " and "))}
	}
}
