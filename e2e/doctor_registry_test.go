package e2e

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// TestDoctorOfRegistries is like [TestDoctor], with faults of registries, of the shim's
// configuration for them, and of containerd's.
func TestDoctorOfRegistries(t *testing.T) {
	fixture := newDoctorFixture(t, shared.private.Host()+"/pause:3.9")
	fixture.pullSandbox(t)
	address := func(n *doctorNode) string { return strings.Fields(n.registryEntries)[2] }
	main := func(*doctorNode) string { return shared.private.Address() }
	const trusted, trustedHosts = "  ca: CA\n", "ca = \"CA\"\n"
	valid := time.Now().Add(30 * 24 * time.Hour)
	clock := func(skew time.Duration) func(*testing.T, *doctorNode) {
		return func(t *testing.T, n *doctorNode) {
			registry := testbed.StartFaultyRegistry(withClock(skew), nil)
			t.Cleanup(registry.Close)
			n.addRegistry(t, registry.Address(), fmt.Sprintf("  auth: %q\n", privateUser+":"+privatePassword), "# http\n")
		}
	}
	fixture.run(t, []doctorCase{
		{name: "healthy over TLS", prepare: func(t *testing.T, n *doctorNode) { tlsRegistry(t, n, valid, trusted, trustedHosts) }},
		{name: "healthy behind a proxy with a correct clock", prepare: clock(0)},
		{
			name:    "host name that does not resolve",
			prepare: func(t *testing.T, n *doctorNode) { n.addRegistry(t, "https://no-such-registry.invalid", "", "") },
			check:   "name", subject: address, level: "FAIL", text: "no-such-registry.invalid", hint: "/etc/hosts",
		},
		{
			name: "closed port",
			prepare: func(t *testing.T, n *doctorNode) {
				registry := testbed.StartFaultyRegistry(testbed.Healthy, nil)
				registry.Close()
				n.addRegistry(t, registry.Address(), "", "# http\n")
			},
			check: "connection", subject: address, level: "FAIL", text: "connection refused", hint: "start the registry",
		},
		{
			name:    "untrusted certificate",
			prepare: func(t *testing.T, n *doctorNode) { tlsRegistry(t, n, valid, "", trustedHosts) },
			check:   "TLS", subject: address, level: "FAIL", text: "certificate verification failed", hint: "set ca",
		},
		{
			name: "TLS without verification",
			prepare: func(t *testing.T, n *doctorNode) {
				tlsRegistry(t, n, valid, "  insecureSkipVerify: true\n", trustedHosts)
			},
			check: "TLS", subject: address, level: "WARN", text: "not verified", hint: "set ca",
		},
		{
			name: "certificate that expires soon",
			prepare: func(t *testing.T, n *doctorNode) {
				tlsRegistry(t, n, time.Now().Add(3*24*time.Hour), trusted, trustedHosts)
			},
			check: "TLS", subject: address, level: "WARN", text: "expires on", hint: "renew",
		},
		{
			name: "https for an http server",
			prepare: func(t *testing.T, n *doctorNode) {
				registry := testbed.StartFaultyRegistry(testbed.Healthy, nil)
				t.Cleanup(registry.Close)
				n.addRegistry(t, strings.Replace(registry.Address(), "http:", "https:", 1), "", "# https\n")
			},
			check: "TLS", subject: address, level: "FAIL", text: "does not speak TLS", hint: "write http://",
		},
		{
			name: "no registry at the address",
			prepare: func(t *testing.T, n *doctorNode) {
				registry := testbed.StartFaultyRegistry(testbed.Answer(404, nil, "canary"), nil)
				t.Cleanup(registry.Close)
				n.addRegistry(t, registry.Address(), "", "# http\n")
			},
			check: "answer", subject: address, level: "FAIL", text: "404", hint: "check which server is at this address",
		},
		{
			name: "wrong password", password: wrongPassword,
			check: "login", subject: main, level: "FAIL", text: "configured credentials rejected", hint: "correct the user and password of the key auth",
		},
		{
			name: "certs.d without the certificate authority",
			prepare: func(t *testing.T, n *doctorNode) {
				tlsRegistry(t, n, valid, trusted, "skip_verify = false\n")
			},
			check: "runtime's trust", subject: address, level: "FAIL", text: "does not trust the host's certificate", hint: "ca = ",
		},
		{
			name:    "certs.d without verification",
			prepare: func(t *testing.T, n *doctorNode) { tlsRegistry(t, n, valid, trusted, "skip_verify = true\n") },
			check:   "runtime's trust", subject: address, level: "WARN", text: "does not verify", hint: "ca = ",
		},
		{
			name: "certs.d has the wrong scheme",
			fault: func(t *testing.T, n *doctorNode) {
				n.writeHosts(t, shared.private.Host(), fmt.Sprintf("server = \"https://%[1]s\"\n[host.\"https://%[1]s\"]\n", shared.private.Host()))
			},
			check: "runtime's trust", subject: main, level: "FAIL", text: "uses https", hint: fmt.Sprintf("'server = %[1]q' '[host.%[1]q]'", shared.private.Address()),
		},
		{
			name: "certs.d has the wrong scheme first",
			fault: func(t *testing.T, n *doctorNode) {
				n.writeHosts(t, shared.private.Host(), fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"https://%[1]s\"]\n", shared.private.Host()))
			},
			check: "runtime's trust", subject: main, level: "WARN", text: "at each pull first tries a route that fails: https://", hint: "remove it",
		},
		{
			name: "certs.d with another host",
			fault: func(t *testing.T, n *doctorNode) {
				other := testbed.StartFaultyRegistry(testbed.Healthy, nil)
				t.Cleanup(other.Close)
				if err := other.Push(testContext(t), "pause:3.9", shared.images[shared.private.Host()+"/pause:3.9"]); err != nil {
					t.Fatal(err)
				}
				n.writeHosts(t, shared.private.Host(), fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n", other.Address()))
			},
			check: "runtime's trust", subject: main, level: "WARN", text: "not from the registry's own host", hint: "same host",
		},
		{
			name: "certs.d with a registry that requires a login",
			fault: func(t *testing.T, n *doctorNode) {
				n.writeHosts(t, shared.private.Host(), fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n", shared.upstream.Address()))
			},
			check: "runtime's trust", subject: main, level: "FAIL", text: "requires a login", hint: fmt.Sprintf("server = %q", shared.private.Address()),
		},
		{
			name: "certs.d with an unreachable host",
			fault: func(t *testing.T, n *doctorNode) {
				n.writeHosts(t, shared.private.Host(), "server = \"http://127.0.0.1:1\"\n[host.\"http://127.0.0.1:1\"]\n")
			},
			check: "runtime's trust", subject: main, level: "FAIL", text: "http://127.0.0.1:1: ", hint: fmt.Sprintf("server = %q", shared.private.Address()),
		},
		{
			name: "certs.d with invalid TOML",
			fault: func(t *testing.T, n *doctorNode) {
				n.writeHosts(t, shared.private.Host(), "server = \"http://x\"\n[host.\"http://y\".header]\nauthorization = canary\n")
			},
			check: "runtime's trust", subject: main, level: "WARN", text: "line 3", hint: "correct the file",
		},
		{
			name:    "clock two minutes ahead",
			prepare: clock(2 * time.Minute),
			check:   "clock", subject: address, level: "WARN", text: "ahead", hint: "NTP",
		},
		{
			name:    "clock ten minutes behind",
			prepare: clock(-10 * time.Minute),
			check:   "clock", subject: address, level: "FAIL", text: "behind", hint: "NTP",
		},
	})
}

// tlsRegistry adds a registry with TLS. In settings and hosts, CA is replaced by the file
// with its certificate.
func tlsRegistry(t *testing.T, n *doctorNode, until time.Time, settings, hosts string) {
	t.Helper()
	certificate, err := testbed.Certificate(n.file("ca.pem"), "127.0.0.1", until)
	if err != nil {
		t.Fatal(err)
	}
	registry := testbed.StartFaultyRegistry(testbed.Healthy, certificate)
	t.Cleanup(registry.Close)
	n.addRegistry(t, registry.Address(), strings.ReplaceAll(settings, "CA", n.file("ca.pem")), strings.ReplaceAll(hosts, "CA", n.file("ca.pem")))
}

// withClock returns a registry in front of the private one whose clock is off by skew.
func withClock(skew time.Duration) testbed.Fault {
	to, _ := url.Parse(shared.private.Address())
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) { request.SetURL(to) },
		ModifyResponse: func(response *http.Response) error {
			response.Header.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
			return nil
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	return func(response http.ResponseWriter, request *http.Request, _ http.Handler) {
		proxy.ServeHTTP(response, request)
	}
}
