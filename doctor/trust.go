package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// routing is the runtime's configuration of a registry: the routes of a pull.
type routing struct {
	source     string  // file with these routes
	ignoredErr error   // set if the runtime ignores that file
	staleFile  string  // runtime's file that names source, if it changed after the runtime started
	routes     []route // in the order in which the runtime tries them
	httpHint   string  // remedy: use http for the host
	moreHint   string  // appended to either remedy
	// caHint returns the remedy: trust a CA. file is that of its certificate; empty: unknown.
	caHint func(file string) string
}

// errFileRejected is the error of a configuration file that the runtime rejects. The
// runtime then pulls nothing.
var errFileRejected = errors.New("the runtime rejects this file and pulls nothing")

// trustFindings compares the runtime's access to a registry with the shim's. Pulls use the
// runtime's.
func (n *node) trustFindings(ctx context.Context, p registry.Probe, configured config.Registry) []Finding {
	if !n.runtime.answers() {
		return nil // reported by checkRuntime
	}
	t := topic{"runtime's trust", p.Registry}
	if !n.runtime.isContainerd() && !n.runtime.isCRIO() {
		return []Finding{t.warn("pull an image from the registry with crictl", "the settings of %s for registries are unknown to the doctor", n.runtime.name())}
	}
	if p.Name != nil || p.Connection != nil || p.TLS != nil || p.Answer != nil {
		return nil // reported by connectionFindings
	}
	found := n.found(p.Registry)
	name := p.Host
	if n.runtime.isCRIO() && len(found) > 0 {
		name = repositoryOf(found[0])
	}
	routing, err := n.routing(name)
	switch {
	case errors.Is(err, errFileRejected):
		return []Finding{t.fail("correct the file", "%v", err)}
	case errors.Is(err, errOldSettings):
		return []Finding{t.warn(n.oldSettingsHint(p), "%v", err)}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "the runtime's access can't be checked: %v", err)}
	case err != nil:
		return []Finding{t.warn("correct the file", "the runtime's access can't be checked: %v", err)}
	case len(routing.routes) == 0:
		return []Finding{t.fail("remove blocked = true (version 1: its [registries.block] entry) from "+routing.source, "%s: the registry is blocked for the runtime", routing.source)}
	}
	host, plain := registryHost(p)
	probing, cancel := context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	results, err := probeRoutes(probing, routing.routes, host)
	if err != nil {
		return []Finding{t.fail("correct that file, or remove it from "+routing.source, "%s: the runtime contacts no host: %v", routing.source, err)}
	}
	c := trustCheck{topic: t, routing: routing, results: results, host: host, plainHTTP: plain, configured: configured, runtime: n.runtime.name()}
	trust := c.finding()
	if trust.Level == OK && routing.staleFile != "" {
		trust = t.warn(restartContainerd, "%s; but containerd started before %s changed, and may not use this yet", trust.Text, routing.staleFile)
	}
	if trust.Level == Fail || !n.images.known || routing.staleFile != "" {
		return []Finding{trust}
	}
	ctx, cancel = context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	return []Finding{trust, manifestCheck{c, n.runtime.isCRIO()}.finding(ctx, found)}
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
	for serving < len(c.routes) && c.results[serving].err != nil && !c.results[serving].hangs {
		serving++
	}
	switch {
	case serving == len(c.routes):
		return c.unreachableFinding()
	case c.results[serving].hangs:
		return c.fail("correct that route, or remove it", "%s: the runtime can't pull from the registry: %s", c.source, c.routeErrors(serving+1))
	}
	r, scheme := c.routes[serving], c.results[serving].scheme
	switch failed := c.routeErrors(serving); {
	case !c.isOwnHost(r):
		return c.warn("let the runtime use the same host as the shim, or make sure that both hosts have the same images",
			"%s: the runtime pulls from %s, not from the registry's own host%s", c.source, r.host, c.ignoredNote())
	case c.ignoredErr != nil:
		return c.warn("correct the file or remove it"+c.moreHint, "%s: %s reaches the registry, but ignores this file: %v", c.source, c.runtime, c.ignoredErr)
	case scheme == "https" && r.skipVerify && !c.configured.InsecureSkipVerify:
		return c.warn(c.verificationHint()+", and remove the setting that disables verification", "%s: the runtime does not verify the registry's certificate, but the shim does", c.source)
	case failed != "":
		return c.warn("correct that route, or remove it", "%s: the runtime reaches the registry, but at each pull first tries a route that fails: %s", c.source, failed)
	case scheme == "http":
		return c.ok("%s: the runtime uses http, like the shim", c.source)
	case r.skipVerify:
		return c.ok("%s: neither the runtime nor the shim verifies the registry's certificate", c.source)
	}
	return c.ok("%s: the runtime trusts the registry's certificate", c.source)
}

// unreachableFinding returns the finding for a registry that no route reaches.
func (c trustCheck) unreachableFinding() Finding {
	hint := c.httpHint + c.moreHint
	if !c.plainHTTP {
		hint = c.verificationHint()
	}
	text := c.routeErrors(len(c.routes))
	if text == "" {
		text = "no host in the file has both capabilities that tags need, pull and resolve"
	}
	return c.fail(hint, "%s: the runtime can't pull from the registry: %s%s", c.source, text, c.ignoredNote())
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
	return fmt.Sprintf("; %s ignores this file: %v", c.runtime, c.ignoredErr)
}

// verificationHint returns the remedy that makes the runtime verify the registry's
// certificate.
func (c trustCheck) verificationHint() string {
	return c.caHint(c.configured.CA) + c.moreHint
}

// isOwnHost reports whether a route leads to the registry's own host.
func (c trustCheck) isOwnHost(r route) bool {
	return r.host == c.host || withPort(r.host, r.scheme == "http") == withPort(c.host, c.plainHTTP)
}

// routing reads the runtime's configuration of a registry host. On CRI-O, name may also be
// a repository.
func (n *node) routing(name string) (routing, error) {
	if n.runtime.isCRIO() {
		return crioRouting(n.Files.Registries, n.Files.Certificates, name)
	}
	return n.containerdRouting(name)
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
