package page

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// LocalOnly answers only who is on this machine, and tells others with a 403 how they get
// here. Who has come through an HTTP proxy that says so is somewhere else; one that does
// not say so can't be told from a browser on this machine.
func LocalOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if !isHere(request) || isForwarded(request) {
			http.Error(response, "this is for who is on the node"+wayHere(request), http.StatusForbidden)
			return
		}
		next.ServeHTTP(response, request)
	})
}

// isHere tells whether a request was made on this machine: through a unix socket, from a
// loopback address, or from the address that it has been sent to.
func isHere(request *http.Request) bool {
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

// isForwarded tells whether a request says that a proxy has passed it on (RFC 7239,
// RFC 9110, and what was there before them).
func isForwarded(request *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if request.Header.Get(header) != "" {
			return true
		}
	}
	return false
}

// wayHere is how ssh brings to another machine what a request has been sent to.
func wayHere(request *http.Request) string {
	switch local := request.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return fmt.Sprintf(": ssh -L 9465:%s NODE brings it to you", local)
	case *net.TCPAddr:
		return fmt.Sprintf(": ssh -L %d:%s NODE brings it to you", local.Port, local)
	default:
		return ""
	}
}
