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

// routing is where the runtime goes for a registry's images.
type routing struct {
	source  string  // the file that says so
	ignored error   // why the runtime does not use that file
	routes  []route // the first is asked first
	http    string  // what to do so that it uses http for the host in question
	ca      string  // and so that it trusts an authority; "FILE" in it is the certificate's file
	also    string  // what else to do, behind either of these
}

// errRefused is a file that the runtime refuses, so that it pulls nothing.
var errRefused = errors.New("the runtime refuses it and pulls nothing")

// trust compares the runtime's way to a registry, which pulls take, with the shim's.
func (n *node) trust(ctx context.Context, v registry.Visit, configured config.Registry) []Finding {
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
	case errors.Is(err, errRefused):
		return []Finding{t.fail("mend the file", "%v", err)}
	case err != nil:
		return []Finding{unreadable(t, err)}
	case len(routing.routes) == 0:
		return []Finding{t.fail("let the runtime ask it", "%s: the runtime may not ask it", routing.source)}
	}
	ctx, cancel := context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	name, plain := host(v)
	answers, err := askAll(ctx, routing.routes, name)
	if err != nil {
		return []Finding{t.fail("mend that file, or leave it out of "+routing.source, "%s: %v, so that it asks no host", routing.source, err)}
	}
	j := judgement{topic: t, routing: routing, answers: answers, host: name, plain: plain, configured: configured, runtime: n.runtime.name()}
	return []Finding{j.finding()}
}

// judgement is what there is to judge a runtime's way to a registry by.
type judgement struct {
	topic
	routing
	answers    []answer
	host       string // of the registry
	plain      bool   // the shim speaks http to it
	configured config.Registry
	runtime    string
}

func (j judgement) finding() Finding {
	serving := 0
	for serving < len(j.routes) && j.answers[serving].err != nil {
		serving++
	}
	if serving == len(j.routes) {
		return j.unreachable()
	}
	r, scheme := j.routes[serving], j.answers[serving].scheme
	switch failed := j.failed(serving); {
	case !j.own(r):
		return j.warn("let the runtime ask the same host, or see that both have the same images",
			"%s: the runtime asks %s in its place%s", j.source, r.host, j.remark())
	case j.ignored != nil:
		return j.warn("mend the file, or remove it"+j.also, "%s: %s does not use it: %v. It reaches the registry without it", j.source, j.runtime, j.ignored)
	case scheme == "https" && r.skipVerify && !j.configured.InsecureSkipVerify:
		return j.warn(j.verification()+", and leave out what turns that off", "%s: the runtime does not verify its certificate, the shim does", j.source)
	case failed != "":
		return j.warn("mend that route, or remove it", "%s: the runtime reaches the registry, but tries first at each pull: %s", j.source, failed)
	case scheme == "http":
		return j.ok("%s: the runtime speaks http to it, too", j.source)
	case r.skipVerify:
		return j.ok("%s: not verified, as by the shim", j.source)
	}
	return j.ok("%s: its certificate is trusted", j.source)
}

// unreachable is the finding where no route leads anywhere.
func (j judgement) unreachable() Finding {
	hint := j.http + j.also
	if !j.plain {
		hint = j.verification()
	}
	text := j.failed(len(j.routes))
	if text == "" {
		text = "no host there is asked for tags, which takes both capabilities, pull and resolve"
	}
	return j.fail(hint, "%s: the runtime can't pull from it: %s%s", j.source, text, j.remark())
}

// failed joins why the routes before one don't serve it.
func (j judgement) failed(before int) string {
	var reasons []string
	for i, r := range j.routes[:before] {
		if !r.resolves {
			continue
		}
		reason := j.answers[i].err.Error()
		if j.own(r) && !r.either && j.plain == (r.scheme == "https") {
			reason = fmt.Sprintf("the runtime speaks %s to it, the shim does not (%s)", r.scheme, reason)
		}
		reasons = append(reasons, r.String()+": "+reason)
	}
	return strings.Join(reasons, "; ")
}

// remark is why the file does not count, if so.
func (j judgement) remark() string {
	if j.ignored == nil {
		return ""
	}
	return fmt.Sprintf(". %s does not use the file: %v", j.runtime, j.ignored)
}

// verification is what to do so that the runtime verifies the registry's certificate.
func (j judgement) verification() string {
	file := j.configured.CA
	switch {
	case file == "":
		return strings.Replace(j.ca, `"FILE"`, `"FILE" (the authority's)`, 1) + j.also
	case strings.Contains(j.ca, `"FILE"`):
		return strings.Replace(j.ca, "FILE", file, 1) + j.also
	}
	return fmt.Sprintf("%s (the shim's is %s)%s", j.ca, file, j.also)
}

// own reports whether a route leads to the registry's own host.
func (j judgement) own(r route) bool {
	return r.host == j.host || withPort(r.host, r.scheme == "http") == withPort(j.host, j.plain)
}

// routing finds out where the runtime goes for a registry's images.
func (n *node) routing(v registry.Visit) (routing, error) {
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
