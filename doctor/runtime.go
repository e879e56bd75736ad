package doctor

import (
	"context"
	"strings"
)

// checkRuntime identifies the runtime.
func checkRuntime(_ context.Context, n *node) []Finding {
	t := topic{"runtime", n.Settings.Runtime}
	const dead = "start the runtime, or set cri to its socket"
	switch c := n.runtime; {
	case c.dialErr != nil:
		return []Finding{dialFinding(t, c.dialErr, dead)}
	case !c.answers():
		return []Finding{t.fail(dead+"; its log may say why", "%v", c.callErr)}
	case c.versions[0] != "v1":
		return []Finding{t.warn("update the runtime: kubelet speaks v1 alone from 1.26 on", "%s, CRI %s", c.name(), c.versions[0])}
	default:
		return []Finding{t.ok("%s, CRI %s", c.name(), strings.Join(c.versions, " and "))}
	}
}
