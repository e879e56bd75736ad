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
	source     string  // the file with these routes
	ignoredErr error   // set if the runtime ignores that file
	routes     []route // in the order in which they are tried
	httpHint   string  // makes the runtime use http for the host
	caHint     string  // makes it trust an authority; "FILE" stands for the certificate's file
	moreHint   string  // is appended to either of these
}

// errFileRejected is the error of a file that the runtime rejects: it then pulls nothing.
var errFileRejected = errors.New("the runtime refuses it and pulls nothing")

// trustFindings compares the runtime's access to a registry, which pulls use, with the
// shim's.
func (n *node) trustFindings(ctx context.Context, v registry.Probe, configured config.Registry) []Finding {
	if !n.runtime.answers() {
		return nil // that is said already
	}
	t := topic{"runtime's trust", v.Registry}
	if !n.runtime.isContainerd() && !n.runtime.isCRIO() {
		return []Finding{t.warn("see that the runtime can pull from it", "where %s has such settings is not known", n.runtime.name())}
	}
	if v.Name != nil || v.Connection != nil || v.TLS != nil || v.Answer != nil {
		return nil // that is said already, too
	}
	routing, err := n.routing(v)
	switch {
	case errors.Is(err, errFileRejected):
		return []Finding{t.fail("mend the file", "%v", err)}
	case err != nil:
		return []Finding{unreadableFinding(t, err)}
	case len(routing.routes) == 0:
		return []Finding{t.fail("let the runtime ask it", "%s: the runtime may not ask it", routing.source)}
	}
	ctx, cancel := context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	name, plain := registryHost(v)
	answers, err := probeRoutes(ctx, routing.routes, name)
	if err != nil {
		return []Finding{t.fail("mend that file, or leave it out of "+routing.source, "%s: %v, so that it asks no host", routing.source, err)}
	}
	j := trustCheck{topic: t, routing: routing, results: answers, host: name, plainHTTP: plain, configured: configured, runtime: n.runtime.name()}
	return []Finding{j.finding()}
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

func (j trustCheck) finding() Finding {
	serving := 0
	for serving < len(j.routes) && j.results[serving].err != nil {
		serving++
	}
	if serving == len(j.routes) {
		return j.unreachableFinding()
	}
	r, scheme := j.routes[serving], j.results[serving].scheme
	switch failed := j.routeErrors(serving); {
	case !j.isOwnHost(r):
		return j.warn("let the runtime ask the same host, or see that both have the same images",
			"%s: the runtime asks %s in its place%s", j.source, r.host, j.ignoredNote())
	case j.ignoredErr != nil:
		return j.warn("mend the file, or remove it"+j.moreHint, "%s: %s does not use it: %v. It reaches the registry without it", j.source, j.runtime, j.ignoredErr)
	case scheme == "https" && r.skipVerify && !j.configured.InsecureSkipVerify:
		return j.warn(j.verificationHint()+", and leave out what turns that off", "%s: the runtime does not verify its certificate, the shim does", j.source)
	case failed != "":
		return j.warn("mend that route, or remove it", "%s: the runtime reaches the registry, but tries first at each pull: %s", j.source, failed)
	case scheme == "http":
		return j.ok("%s: the runtime speaks http to it, too", j.source)
	case r.skipVerify:
		return j.ok("%s: not verified, as by the shim", j.source)
	}
	return j.ok("%s: its certificate is trusted", j.source)
}

// unreachableFinding is the finding if no route works.
func (j trustCheck) unreachableFinding() Finding {
	hint := j.httpHint + j.moreHint
	if !j.plainHTTP {
		hint = j.verificationHint()
	}
	text := j.routeErrors(len(j.routes))
	if text == "" {
		text = "no host there is asked for tags, which takes both capabilities, pull and resolve"
	}
	return j.fail(hint, "%s: the runtime can't pull from it: %s%s", j.source, text, j.ignoredNote())
}

// routeErrors joins the errors of the routes before the given index.
func (j trustCheck) routeErrors(before int) string {
	var reasons []string
	for i, r := range j.routes[:before] {
		if !r.resolvesTags {
			continue
		}
		reason := j.results[i].err.Error()
		if j.isOwnHost(r) && !r.httpFallback && j.plainHTTP == (r.scheme == "https") {
			reason = fmt.Sprintf("the runtime speaks %s to it, the shim does not (%s)", r.scheme, reason)
		}
		reasons = append(reasons, r.String()+": "+reason)
	}
	return strings.Join(reasons, "; ")
}

// ignoredNote explains why the runtime ignores the file, if it does.
func (j trustCheck) ignoredNote() string {
	if j.ignoredErr == nil {
		return ""
	}
	return fmt.Sprintf(". %s does not use the file: %v", j.runtime, j.ignoredErr)
}

// verificationHint is the remedy that makes the runtime verify the registry's certificate.
func (j trustCheck) verificationHint() string {
	file := j.configured.CA
	switch {
	case file == "":
		return strings.Replace(j.caHint, `"FILE"`, `"FILE" (the authority's)`, 1) + j.moreHint
	case strings.Contains(j.caHint, `"FILE"`):
		return strings.Replace(j.caHint, "FILE", file, 1) + j.moreHint
	}
	return fmt.Sprintf("%s (the shim's is %s)%s", j.caHint, file, j.moreHint)
}

// isOwnHost reports whether a route leads to the registry's own host.
func (j trustCheck) isOwnHost(r route) bool {
	return r.host == j.host || withPort(r.host, r.scheme == "http") == withPort(j.host, j.plainHTTP)
}

// routing reads the runtime's configuration of a registry.
func (n *node) routing(v registry.Probe) (routing, error) {
	if n.runtime.isCRIO() {
		return crioRouting(n.Files.Registries, n.Files.Certificates, v.Host)
	}
	return n.containerdRouting(v.Host)
}

// withPort is a host with the port that it means.
func withPort(host string, plain bool) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if plain {
		return host + ":80"
	}
	return host + ":443"
}
