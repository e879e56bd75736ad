package doctor

import (
	"context"
	"strings"
)

// runtimeSocket says who the runtime is.
func runtimeSocket(_ context.Context, n *node) []Finding {
	t := topic{"runtime", n.Settings.Runtime}
	const dead = "start the runtime, or set cri to its socket"
	switch p := n.runtime; {
	case p.dial != nil:
		return []Finding{silent(t, p.dial, dead)}
	case !p.answers():
		return []Finding{t.fail(dead+"; its log may say why", "%v", p.err)}
	case p.versions[0] != "v1":
		return []Finding{t.warn("update the runtime: kubelet speaks v1 alone from 1.26 on", "%s, CRI %s", p.name(), p.versions[0])}
	default:
		return []Finding{t.ok("%s, CRI %s", p.name(), strings.Join(p.versions, " and "))}
	}
}
