package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// checkRegistries reports whether the shim and the runtime reach each registry, and the
// step that fails if not.
func checkRegistries(ctx context.Context, n *node) []Finding {
	if len(n.probes) == 0 {
		return []Finding{topic{"registries", n.File}.warn("set address", "none is configured: the shim only forwards")}
	}
	trust := make([][]Finding, len(n.probes))
	var running sync.WaitGroup
	for i, v := range n.probes {
		running.Go(func() { trust[i] = n.trustFindings(ctx, v, n.configured(v)) })
	}
	running.Wait()
	var findings []Finding
	for i, v := range n.probes {
		configured := n.configured(v)
		findings = append(findings, connectionFindings(v, configured)...)
		if v.Connection == nil && v.Name == nil && v.TLS == nil && v.Answer == nil {
			findings = append(findings, latencyFinding(v, n.Settings.LookupTimeout), loginFinding(v, configured))
		}
		if !v.Date.IsZero() {
			findings = append(findings, clockFinding(v))
		}
		if configured.OwnHostOnly() {
			findings = append(findings, topic{"images", v.Registry}.ok(`only those of its own host, as it is public: match: ["*"] asks it for all`))
		}
		findings = append(findings, trust[i]...)
	}
	return findings
}

// configured is the configuration of a registry that was visited.
func (n *node) configured(v registry.Probe) config.Registry {
	i := slices.IndexFunc(n.Settings.Registries, func(r config.Registry) bool { return r.HasAddress(v.Registry) })
	if i < 0 {
		return config.Registry{Address: v.Registry}
	}
	return n.Settings.Registries[i]
}

// connectionFindings reports each step of the connection to a registry, up to the first
// that failed.
func connectionFindings(v registry.Probe, configured config.Registry) []Finding {
	name, connection, encrypted := topic{"name", v.Registry}, topic{"connection", v.Registry}, topic{"TLS", v.Registry}
	if v.Name != nil {
		return []Finding{name.fail("add the name to DNS or to /etc/hosts, or correct the address", "%v", v.Name)}
	}
	findings := []Finding{name.ok("resolves")}
	if v.Proxy != "" {
		findings = []Finding{name.ok("is left to the proxy %s, by this shell's environment: see that the shim's has the same", v.Proxy)}
	}
	if v.Connection != nil {
		return append(findings, connection.fail("start the registry, or correct the port and the firewall", "%v", v.Connection))
	}
	findings = append(findings, connection.ok("accepted"))
	if v.TLS != nil {
		hint := "set ca to the certificate of its authority, or mend the registry's own"
		if _, plain := errors.AsType[tls.RecordHeaderError](v.TLS); plain {
			hint = "write http:// in address, or let the registry speak TLS"
		}
		return append(findings, encrypted.fail(hint, "%v", v.TLS))
	}
	if v.Answer != nil {
		return append(findings, topic{"answer", v.Registry}.fail("see what is at this address, and whether it is http:// or https://", "%v", v.Answer))
	}
	return append(findings, tlsFinding(encrypted, v, configured))
}

// certificateWarning is how long before its expiry a certificate is reported.
const certificateWarning = 14 * 24 * time.Hour

func tlsFinding(t topic, v registry.Probe, configured config.Registry) Finding {
	switch {
	case v.Session == nil:
		return t.ok("none (http)")
	case configured.InsecureSkipVerify:
		return t.warn("set ca in place of insecureSkipVerify", "the certificate is not verified: who is in between can read the password and change images")
	}
	until := v.Session.PeerCertificates[0].NotAfter
	if left := until.Sub(v.At); left < certificateWarning {
		return t.warn("renew the registry's certificate", "the certificate ends on %s", until.Format(time.DateOnly))
	}
	return t.ok("verified, until %s", until.Format(time.DateOnly))
}

func loginFinding(v registry.Probe, configured config.Registry) Finding {
	t := topic{"login", v.Registry}
	switch {
	case v.Login == nil && v.User == "":
		return t.ok("not needed")
	case v.Login == nil:
		return t.ok("as %s", v.User)
	case v.User == "" && configured.AuthFile != "":
		return t.warn("add it there if there are not only logins of projects", "%s has no login for all of it: %v", configured.AuthFile, v.Login)
	case configured.AuthFile != "":
		return t.fail("correct the login in "+configured.AuthFile, "%v", v.Login)
	default:
		return t.fail("set auth to the user and password of an account that may pull", "%v", v.Login)
	}
}

func latencyFinding(v registry.Probe, timeout time.Duration) Finding {
	t := topic{"answer", v.Registry}
	if v.Latency > timeout/2 {
		return t.warn("find out what is slow, or raise lookupTimeout", "after %v, and look-ups end after %v", v.Latency.Round(time.Millisecond), timeout)
	}
	return t.ok("after %v", v.Latency.Round(time.Millisecond/10))
}

// Tokens hold for minutes and are refused before their time.
const (
	skewWarned = time.Minute
	skewFailed = 5 * time.Minute
)

func clockFinding(v registry.Probe) Finding {
	t := topic{"clock", v.Registry}
	skew := v.Date.Sub(v.At).Round(time.Second)
	text := fmt.Sprintf("the registry's is %v ahead", skew)
	if skew < 0 {
		text = fmt.Sprintf("the registry's is %v behind", -skew)
	}
	const hint = "set the clocks by NTP (timedatectl): tokens and certificates hold for a time"
	switch {
	case skew.Abs() > skewFailed:
		return t.fail(hint, "%s", text)
	case skew.Abs() > skewWarned:
		return t.warn(hint, "%s", text)
	case skew.Abs() <= time.Second: // what the header is exact to
		return t.ok("the same")
	}
	return t.ok("%s", text)
}

// registryHost returns the host that serves a registry, and whether it is reached over
// plain http.
func registryHost(v registry.Probe) (name string, plain bool) {
	return servingHost(v.Host), strings.HasPrefix(v.Registry, "http://")
}

// servingHost returns the host that serves the images of a host in image names. Only
// Docker Hub has another one.
func servingHost(host string) string {
	if host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}
