package page

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// LocalOnly answers only requests from this machine. All others get a 403 with the ssh
// command that forwards the address. A request through an HTTP proxy is rejected if the
// proxy adds one of its headers; otherwise it looks like a request of a local browser.
func LocalOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if !isLocal(request) || isForwarded(request) {
			http.Error(response, "only available from this node"+sshHint(request), http.StatusForbidden)
			return
		}
		next.ServeHTTP(response, request)
	})
}

// isLocal reports whether a request comes from this machine: through a unix socket, from a
// loopback address or from the address that it was sent to.
func isLocal(request *http.Request) bool {
	switch local := request.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		remote, err := netip.ParseAddrPort(request.RemoteAddr)
		from := remote.Addr().Unmap()
		return err == nil && (from.IsLoopback() || from == local.AddrPort().Addr().Unmap())
	default:
		return false
	}
}

// isForwarded reports whether a proxy added a header to the request (RFC 7239, RFC 9110 and
// the older X-Forwarded-For).
func isForwarded(request *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if request.Header.Get(header) != "" {
			return true
		}
	}
	return false
}

// sshHint returns a text with the ssh command that forwards the address of the request.
func sshHint(request *http.Request) string {
	switch local := request.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return fmt.Sprintf(", forward it with: ssh -L 9465:%s NODE", local)
	case *net.TCPAddr:
		return fmt.Sprintf(", forward it with: ssh -L %d:%s NODE", local.Port, local)
	default:
		return ""
	}
}
