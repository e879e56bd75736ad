package registry

import "net/http"

// SetTransport makes all requests of a new set go to next, in place of connections.
func (s *Set) SetTransport(next http.RoundTripper) {
	for _, e := range s.endpoints {
		e.client.transport.next = next
	}
}
