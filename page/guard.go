package page

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard answers only who is on this machine and has come here by the page's own address,
// and says in each answer what a browser may do with it. The metrics beside the page may be
// for a whole network; what a node's images are called is not.
//
// A name that an attacker's name server has pointed at this host (DNS rebinding) is none of
// the page's, and neither is a request that another site's document makes.
func (p *Page) guard(next http.Handler) http.Handler {
	local := LocalOnly(p.own(next))
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		header := response.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		local.ServeHTTP(response, request)
	})
}

// own answers only who reads, and asks for this page itself.
func (p *Page) own(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		switch {
		case !p.isOwn(request.Host):
			http.Error(response, "ask for this page by localhost, an IP address or the host of metrics:", http.StatusForbidden)
		case isForeign(request):
			http.Error(response, "another site's document may not ask for this", http.StatusForbidden)
		case request.Method != http.MethodGet:
			response.Header().Set("Allow", http.MethodGet)
			http.Error(response, "only GET", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(response, request)
		}
	})
}

// isOwn tells whether a Host field names this page.
func (p *Page) isOwn(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	own := p.sources.Host()
	return strings.EqualFold(host, "localhost") || own != "" && strings.EqualFold(host, own)
}

// isForeign tells what a browser does for another site, but for following a link
// (https://www.w3.org/TR/fetch-metadata/).
func isForeign(request *http.Request) bool {
	switch request.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return request.Header.Get("Sec-Fetch-Mode") != "navigate"
}
