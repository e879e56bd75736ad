package page

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard answers only requests from this machine for the page's own address, and sets the
// security headers. The metrics on the same address may be open to a network; the image
// names of the node must not be.
//
// It rejects unknown host names, which an attacker's name server may resolve to this host
// (DNS rebinding), and cross-site requests.
func (p *Page) guard(next http.Handler) http.Handler {
	local := LocalOnly(p.sameOrigin(next))
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		header := response.Header()
		header.Set("Content-Security-Policy", contentSecurityPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		local.ServeHTTP(response, request)
	})
}

// sameOrigin answers only GET requests for the page's own host that are not cross-site.
func (p *Page) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		switch {
		case !p.isOwnHost(request.Host):
			http.Error(response, "unknown host: use localhost, an IP address or the host in `metrics`", http.StatusForbidden)
		case isCrossSite(request):
			http.Error(response, "cross-site request rejected", http.StatusForbidden)
		case request.Method != http.MethodGet:
			response.Header().Set("Allow", http.MethodGet)
			http.Error(response, "method not allowed: use GET", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(response, request)
		}
	})
}

// isOwnHost reports whether the value of a Host header names this server.
func (p *Page) isOwnHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	own := p.sources.Host()
	return strings.EqualFold(host, "localhost") || own != "" && strings.EqualFold(host, own)
}

// isCrossSite reports whether a document of another site makes the request. Following a
// link is permitted (https://www.w3.org/TR/fetch-metadata/).
func isCrossSite(request *http.Request) bool {
	switch request.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return request.Header.Get("Sec-Fetch-Mode") != "navigate"
}
