package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// routing is the runtime's configuration of a registry: the routes of a pull.
type routing struct {
	source     string  // file with these routes
	ignoredErr error   // set if the runtime ignores that file
	routes     []route // in the order in which the runtime tries them
	httpHint   string  // remedy: use http for the host
	caHint     string  // remedy: trust a CA; "FILE" is the placeholder for its certificate file
	moreHint   string  // appended to either remedy
}

// errFileRejected is the error of a configuration file that the runtime rejects. The
// runtime then pulls nothing.
var errFileRejected = errors.New("the runtime rejects it and pulls nothing")

// trustFindings compares the runtime's access to a registry, which pulls use, with the
// shim's.
func (n *node) trustFindings(ctx context.Context, p registry.Probe, configured config.Registry) []Finding {
	if !n.runtime.answers() {
		return nil // reported by checkRuntime
	}
	t := topic{"runtime's trust", p.Registry}
	if !n.runtime.isContainerd() && !n.runtime.isCRIO() {
		return []Finding{t.warn("check that the runtime can pull from it", "the settings of %s for registries are unknown to the doctor", n.runtime.name())}
	}
	if p.Name != nil || p.Connection != nil || p.TLS != nil || p.Answer != nil {
		return nil // reported by connectionFindings
	}
	routing, err := n.routing(p)
	switch {
	case errors.Is(err, errFileRejected):
		return []Finding{t.fail("correct the file", "%v", err)}
	case err != nil:
		return []Finding{unreadableFinding(t, err)}
	case len(routing.routes) == 0:
		return []Finding{t.fail("allow the runtime to use it", "%s: the registry is blocked for the runtime", routing.source)}
	}
	ctx, cancel := context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	name, plain := registryHost(p)
	results, err := probeRoutes(ctx, routing.routes, name)
	if err != nil {
		return []Finding{t.fail("correct that file, or remove it from "+routing.source, "%s: %v, and therefore contacts no host", routing.source, err)}
	}
	c := trustCheck{topic: t, routing: routing, results: results, host: name, plainHTTP: plain, configured: configured, runtime: n.runtime.name()}
	return []Finding{c.finding()}
}

// trustCheck holds the runtime's routes to a registry and the result of probing them.
type trustCheck struct {
	topic
	routing
	results    []routeResult
	host       string // of the registry
	plainHTTP  bool   // the shim uses http
	configured config.Registry
	runtime    string
}

func (c trustCheck) finding() Finding {
	serving := 0
	for serving < len(c.routes) && c.results[serving].err != nil {
		serving++
	}
	if serving == len(c.routes) {
		return c.unreachableFinding()
	}
	r, scheme := c.routes[serving], c.results[serving].scheme
	switch failed := c.routeErrors(serving); {
	case !c.isOwnHost(r):
		return c.warn("let the runtime use the same host, or make sure that both have the same images",
			"%s: the runtime uses %s instead%s", c.source, r.host, c.ignoredNote())
	case c.ignoredErr != nil:
		return c.warn("correct the file or remove it"+c.moreHint, "%s: %s ignores it: %v. It reaches the registry without it", c.source, c.runtime, c.ignoredErr)
	case scheme == "https" && r.skipVerify && !c.configured.InsecureSkipVerify:
		return c.warn(c.verificationHint()+", and remove the setting that disables verification", "%s: the runtime does not verify the registry's certificate, but the shim does", c.source)
	case failed != "":
		return c.warn("correct that route, or remove it", "%s: the runtime reaches the registry, but at each pull first tries: %s", c.source, failed)
	case scheme == "http":
		return c.ok("%s: the runtime uses http, like the shim", c.source)
	case r.skipVerify:
		return c.ok("%s: the certificate is verified neither by the runtime nor by the shim", c.source)
	}
	return c.ok("%s: its certificate is trusted", c.source)
}

// unreachableFinding returns the finding for a registry that no route reaches.
func (c trustCheck) unreachableFinding() Finding {
	hint := c.httpHint + c.moreHint
	if !c.plainHTTP {
		hint = c.verificationHint()
	}
	text := c.routeErrors(len(c.routes))
	if text == "" {
		text = "no host there is used for tags, which requires both capabilities, pull and resolve"
	}
	return c.fail(hint, "%s: the runtime can't pull from it: %s%s", c.source, text, c.ignoredNote())
}

// routeErrors joins the errors of the routes before the given index.
func (c trustCheck) routeErrors(before int) string {
	var reasons []string
	for i, r := range c.routes[:before] {
		if !r.resolvesTags {
			continue
		}
		reason := c.results[i].err.Error()
		if c.isOwnHost(r) && !r.httpFallback && c.plainHTTP == (r.scheme == "https") {
			reason = fmt.Sprintf("the runtime uses %s, but the shim does not (%s)", r.scheme, reason)
		}
		reasons = append(reasons, r.String()+": "+reason)
	}
	return strings.Join(reasons, "; ")
}

// ignoredNote explains why the runtime ignores the file, if it does.
func (c trustCheck) ignoredNote() string {
	if c.ignoredErr == nil {
		return ""
	}
	return fmt.Sprintf(". %s ignores the file: %v", c.runtime, c.ignoredErr)
}

// verificationHint returns the remedy that makes the runtime verify the registry's
// certificate.
func (c trustCheck) verificationHint() string {
	file := c.configured.CA
	switch {
	case file == "":
		return strings.Replace(c.caHint, `"FILE"`, `"FILE" (the certificate of its CA)`, 1) + c.moreHint
	case strings.Contains(c.caHint, `"FILE"`):
		return strings.Replace(c.caHint, "FILE", file, 1) + c.moreHint
	}
	return fmt.Sprintf("%s (the shim uses %s)%s", c.caHint, file, c.moreHint)
}

// isOwnHost reports whether a route leads to the registry's own host.
func (c trustCheck) isOwnHost(r route) bool {
	return r.host == c.host || withPort(r.host, r.scheme == "http") == withPort(c.host, c.plainHTTP)
}

// routing reads the runtime's configuration of a registry.
func (n *node) routing(p registry.Probe) (routing, error) {
	if n.runtime.isCRIO() {
		return crioRouting(n.Files.Registries, n.Files.Certificates, p.Host)
	}
	return n.containerdRouting(p.Host)
}

// withPort returns a host with its port, or with the default port if it has none.
func withPort(host string, plain bool) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if plain {
		return host + ":80"
	}
	return host + ":443"
}
