package page

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// LocalOnly answers only requests from this machine. Others get a 403 with a hint how to
// connect through ssh. A request through an HTTP proxy counts as remote if the proxy says
// so; otherwise it can't be distinguished from a local browser's.
func LocalOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if !isLocal(request) || isForwarded(request) {
			http.Error(response, "this is for who is on the node"+sshHint(request), http.StatusForbidden)
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

// isForwarded reports whether a request has a proxy's header (RFC 7239, RFC 9110 and the
// older X-Forwarded-For).
func isForwarded(request *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if request.Header.Get(header) != "" {
			return true
		}
	}
	return false
}

// sshHint returns the ssh command that forwards the request's address to another machine.
func sshHint(request *http.Request) string {
	switch local := request.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return fmt.Sprintf(": ssh -L 9465:%s NODE brings it to you", local)
	case *net.TCPAddr:
		return fmt.Sprintf(": ssh -L %d:%s NODE brings it to you", local.Port, local)
	default:
		return ""
	}
}
