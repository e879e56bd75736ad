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

// checkRegistries reports whether the shim and the runtime can reach each registry, and
// otherwise the step that fails. Without a registry, checkConfiguration has a warning.
func checkRegistries(ctx context.Context, n *node) []Finding {
	trust := make([][]Finding, len(n.probes))
	var running sync.WaitGroup
	for i, p := range n.probes {
		running.Go(func() { trust[i] = n.trustFindings(ctx, p, n.configured(p)) })
	}
	running.Wait()
	var findings []Finding
	for i, p := range n.probes {
		configured := n.configured(p)
		findings = append(findings, connectionFindings(p, configured)...)
		if p.Connection == nil && p.Name == nil && p.TLS == nil && p.Answer == nil {
			findings = append(findings, latencyFinding(p, n.Settings.LookupTimeout), loginFinding(p, configured, n.File))
		}
		if !p.Date.IsZero() {
			findings = append(findings, clockFinding(p))
		}
		if configured.OwnHostOnly() {
			findings = append(findings, topic{"images", p.Registry}.ok(`the registry is asked only for images of its own host, because it is public; with match: ["*"], it is asked for all images`))
		}
		findings = append(findings, n.imageFindings(p, configured)...)
		findings = append(findings, trust[i]...)
	}
	return findings
}

// isUsable reports whether the probe reached a registry that accepts the login. An authFile
// may have logins only for parts of the registry.
func (n *node) isUsable(p registry.Probe) bool {
	accepted := p.Login == nil || p.User == "" && n.configured(p).AuthFile != ""
	return p.Name == nil && p.Connection == nil && p.TLS == nil && p.Answer == nil && accepted
}

// configured returns the configuration of a probed registry.
func (n *node) configured(p registry.Probe) config.Registry {
	i := slices.IndexFunc(n.Settings.Registries, func(r config.Registry) bool { return r.HasAddress(p.Registry) })
	if i < 0 {
		return config.Registry{Address: p.Registry}
	}
	return n.Settings.Registries[i]
}

// connectionFindings reports each step of connecting to a registry, up to the first that
// failed.
func connectionFindings(p registry.Probe, configured config.Registry) []Finding {
	name, connection, encrypted := topic{"name", p.Registry}, topic{"connection", p.Registry}, topic{"TLS", p.Registry}
	if p.Name != nil {
		return []Finding{name.fail("add the name to DNS or to /etc/hosts, or correct the address", "%v", p.Name)}
	}
	findings := []Finding{name.ok("resolves")}
	if p.Proxy != "" {
		findings = []Finding{name.ok("resolved by the proxy %s, set in this shell's environment; check that the shim's environment is the same", p.Proxy)}
	}
	if p.Connection != nil {
		return append(findings, connection.fail("start the registry, or correct the port or the firewall", "%v", p.Connection))
	}
	findings = append(findings, connection.ok("accepted"))
	if p.TLS != nil {
		hint := "set ca to the certificate of the registry's CA, or correct the registry's certificate"
		if _, plain := errors.AsType[tls.RecordHeaderError](p.TLS); plain {
			return append(findings, encrypted.fail("write http://"+p.Host+" as the address", "the server does not speak TLS, but its address stands for https"))
		}
		return append(findings, encrypted.fail(hint, "%v", p.TLS))
	}
	if p.Answer != nil {
		return append(findings, topic{"answer", p.Registry}.fail("check which server is at this address, and whether the address needs http:// or https://", "%v", p.Answer))
	}
	return append(findings, tlsFinding(encrypted, p, configured))
}

// certificateWarning is the remaining lifetime below which a certificate is reported.
const certificateWarning = 14 * 24 * time.Hour

func tlsFinding(t topic, p registry.Probe, configured config.Registry) Finding {
	switch {
	case p.Session == nil:
		return t.ok("none (http)")
	case configured.InsecureSkipVerify:
		return t.warn("set ca instead of insecureSkipVerify", "the certificate is not verified: an attacker on the network can read the password and change images")
	}
	until := p.Session.PeerCertificates[0].NotAfter
	if left := until.Sub(p.At); left < certificateWarning {
		return t.warn("renew the registry's certificate", "the certificate expires on %s", until.Format(time.DateOnly))
	}
	return t.ok("verified, until %s", until.Format(time.DateOnly))
}

// loginFinding reports whether the registry accepts the login. file is the configuration.
func loginFinding(p registry.Probe, configured config.Registry, file string) Finding {
	t := topic{"login", p.Registry}
	switch {
	case p.Login == nil && p.User == "":
		return t.ok("not needed")
	case p.Login == nil:
		return t.ok("as %s", p.User)
	case p.User == "" && configured.AuthFile != "":
		return t.warn("add a login for the registry, unless logins of single projects are enough", "%s has no login for the registry as a whole: %v", configured.AuthFile, p.Login)
	case configured.AuthFile != "":
		return t.fail("correct the login in "+configured.AuthFile, "%v", p.Login)
	case p.User != "":
		return t.fail("correct the user and password of the key auth of this registry in "+file, "%v", p.Login)
	default:
		return t.fail("set the key auth of this registry in "+file+" to the user and password of an account that may pull", "%v", p.Login)
	}
}

func latencyFinding(p registry.Probe, timeout time.Duration) Finding {
	t := topic{"answer", p.Registry}
	if p.Latency > timeout/2 {
		return t.warn("find the cause of the delay, or raise lookupTimeout", "the registry answered after %v, but lookups time out after %v", p.Latency.Round(time.Millisecond), timeout)
	}
	return t.ok("after %v", p.Latency.Round(time.Millisecond/10))
}

// Limits of clock skew. Tokens are valid for minutes, and are refused before they become
// valid.
const (
	skewWarned = time.Minute
	skewFailed = 5 * time.Minute
)

func clockFinding(p registry.Probe) Finding {
	t := topic{"clock", p.Registry}
	skew := p.Date.Sub(p.At).Round(time.Second)
	text := fmt.Sprintf("the registry's clock is %v ahead", skew)
	if skew < 0 {
		text = fmt.Sprintf("the registry's clock is %v behind", -skew)
	}
	const hint = "synchronize the clocks by NTP (timedatectl): tokens and certificates are valid for a limited time"
	switch {
	case skew.Abs() > skewFailed:
		return t.fail(hint, "%s", text)
	case skew.Abs() > skewWarned:
		return t.warn(hint, "%s", text)
	case skew.Abs() <= time.Second: // resolution of the Date header
		return t.ok("the same")
	}
	return t.ok("%s", text)
}

// registryHost returns the host that serves a registry, and whether it is reached over
// plain http.
func registryHost(p registry.Probe) (name string, plain bool) {
	return servingHost(p.Host), strings.HasPrefix(p.Registry, "http://")
}

// servingHost returns the host that serves the images of a host in image names. Only
// Docker Hub has another one.
func servingHost(host string) string {
	if host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}
