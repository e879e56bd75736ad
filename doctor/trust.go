package doctor

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// route is a host that the runtime asks for the images of a registry.
type route struct {
	scheme, host string
	either       bool     // the other scheme is tried, too
	skipVerify   bool     // its certificate is not verified
	authorities  []string // files with certificates that are trusted beside the system's
}

// routing is where the runtime goes for a registry's images.
type routing struct {
	source string  // the file that says so
	routes []route // the first is asked first
	http   string  // what to do so that it uses http for the host in question
	ca     string  // and so that it trusts an authority, whose file is yet to be named
}

// trust compares the runtime's way to a registry, which pulls take, with the shim's.
func (n *node) trust(v registry.Visit, configured config.Registry) []Finding {
	if !n.runtime.answers() {
		return nil // that is said already
	}
	t := topic{"runtime's trust", v.Registry}
	if !n.runtime.isContainerd() && !n.runtime.isCRIO() {
		return []Finding{t.warn("see that the runtime can pull from it", "where %s has such settings is not known", n.runtime.name())}
	}
	name, plain := host(v)
	routing, err := n.routing(v)
	if err != nil {
		return []Finding{unreadable(t, err)}
	}
	for _, r := range routing.routes {
		if withPort(r.host, r.scheme == "http") != withPort(name, plain) && r.host != name {
			continue
		}
		if !r.either && plain != (r.scheme == "http") {
			hint := routing.http
			if !plain {
				hint = "use https there: " + routing.ca
			}
			return []Finding{t.fail(hint, "%s: the runtime speaks %s to it, the shim does not", routing.source, r.scheme)}
		}
		if plain {
			return []Finding{t.ok("%s: the runtime speaks http to it, too", routing.source)}
		}
		return r.verify(t, v, configured, routing)
	}
	if len(routing.routes) == 0 {
		return []Finding{t.fail("let the runtime ask it", "%s: the runtime may not ask it", routing.source)}
	}
	return []Finding{t.warn("let the runtime ask the same host, or see that both have the same images",
		"%s: the runtime asks %s in its place", routing.source, routing.routes[0].host)}
}

// verify does with the registry's certificate as the runtime would.
func (r route) verify(t topic, v registry.Visit, configured config.Registry, routing routing) []Finding {
	switch {
	case r.skipVerify && configured.InsecureSkipVerify:
		return []Finding{t.ok("%s: not verified, as by the shim", routing.source)}
	case r.skipVerify:
		return []Finding{t.warn(routing.ca+", and leave out what turns that off", "%s: the runtime does not verify its certificate, the shim does", routing.source)}
	case v.Session == nil:
		return nil // there was no certificate to verify
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range r.authorities {
		content, err := os.ReadFile(file)
		if err != nil || !pool.AppendCertsFromPEM(content) {
			return []Finding{t.fail("put a certificate in PEM form there", "%s: the runtime can't read %s", routing.source, file)}
		}
	}
	chain := v.Session.PeerCertificates
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	name := r.host
	if alone, _, err := net.SplitHostPort(r.host); err == nil {
		name = alone
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: pool, Intermediates: intermediates}); err != nil {
		hint := routing.ca
		if configured.CA != "" {
			hint = fmt.Sprintf("%s (the shim's is %s)", hint, configured.CA)
		}
		return []Finding{t.fail(hint, "%s: the runtime does not trust its certificate: %v", routing.source, err)}
	}
	return []Finding{t.ok("%s: its certificate is trusted", routing.source)}
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
