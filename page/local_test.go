package page

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestWhereRequestsComeFrom requires that only local requests are answered, even if the
// metrics are open to a network.
func TestWhereRequestsComeFrom(t *testing.T) {
	address := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	for _, test := range []struct {
		remote string
		local  net.Addr
		code   int
	}{
		{"127.0.0.1:5", address("127.0.0.1:9465"), http.StatusOK},
		{"127.0.0.9:5", address("127.0.0.1:9465"), http.StatusOK},
		{"[::1]:5", address("[::1]:9465"), http.StatusOK},
		{"[::ffff:127.0.0.1]:5", address("127.0.0.1:9465"), http.StatusOK},
		{"192.0.2.1:5", address("192.0.2.1:9465"), http.StatusOK}, // through ssh -L 9465:192.0.2.1:9465
		{"@", &net.UnixAddr{Net: "unix"}, http.StatusOK},
		{"192.0.2.2:5", address("192.0.2.1:9465"), http.StatusForbidden},
		{"[fe80::2%eth0]:5", address("[fe80::1%eth0]:9465"), http.StatusForbidden},
		{"", address("192.0.2.1:9465"), http.StatusForbidden},
		{"127.0.0.1:5", nil, http.StatusForbidden},
	} {
		p, _ := serve(t, healthySources())
		request := httptest.NewRequestWithContext(
			context.WithValue(t.Context(), http.LocalAddrContextKey, test.local), http.MethodGet, "http://localhost:9465/snapshot", nil)
		request.RemoteAddr = test.remote
		response := httptest.NewRecorder()
		p.ServeHTTP(response, request)
		if response.Code != test.code {
			t.Errorf("%s to %v: got %d, want %d", test.remote, test.local, response.Code, test.code)
		}
	}
}

// TestWayHere requires that the ssh command in the answer can be used unchanged.
func TestWayHere(t *testing.T) {
	address := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	for _, test := range []struct {
		local net.Addr
		want  string
	}{
		{address("127.0.0.1:9465"), "only available from this node, forward it with: ssh -L 9465:127.0.0.1:9465 NODE\n"},
		{address("192.0.2.1:9100"), "only available from this node, forward it with: ssh -L 9100:192.0.2.1:9100 NODE\n"},
		{address("[::ffff:192.0.2.1]:9465"), "only available from this node, forward it with: ssh -L 9465:192.0.2.1:9465 NODE\n"},
		{address("[2001:db8::1]:9465"), "only available from this node, forward it with: ssh -L 9465:[2001:db8::1]:9465 NODE\n"},
		{&net.UnixAddr{Net: "unix", Name: "/run/m.sock"}, "only available from this node, forward it with: ssh -L 9465:/run/m.sock NODE\n"},
		{nil, "only available from this node\n"},
	} {
		request := httptest.NewRequestWithContext(
			context.WithValue(t.Context(), http.LocalAddrContextKey, test.local), http.MethodGet, "http://localhost/", nil)
		request.Header.Set("Via", "1.1 proxy")
		response := httptest.NewRecorder()
		LocalOnly(http.NotFoundHandler()).ServeHTTP(response, request)
		if got := response.Body.String(); response.Code != http.StatusForbidden || !strings.Contains(got, test.want) {
			t.Errorf("%v: got %d, %q, want %q", test.local, response.Code, got, test.want)
		}
	}
}
