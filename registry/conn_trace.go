package registry

import (
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// way is how far one request has come.
type way struct {
	mu        sync.Mutex // a dial may go on when its request has ended
	target    string     // host and port that is connected to
	unnamed   bool       // its name has no address
	connected bool
	untrusted bool      // a TLS handshake has begun and not succeeded
	ready     time.Time // to send the request
}

func (w *way) trace() *httptrace.ClientTrace {
	note := func(change func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		change()
	}
	return &httptrace.ClientTrace{
		GetConn:  func(target string) { note(func() { w.target = target }) },
		DNSStart: func(httptrace.DNSStartInfo) { note(func() { w.unnamed = true }) },
		DNSDone:  func(done httptrace.DNSDoneInfo) { note(func() { w.unnamed = done.Err != nil }) },
		// Several addresses may be tried at once.
		ConnectDone:       func(_, _ string, err error) { note(func() { w.connected = w.connected || err == nil }) },
		TLSHandshakeStart: func() { note(func() { w.untrusted = true }) },
		TLSHandshakeDone:  func(_ tls.ConnectionState, err error) { note(func() { w.untrusted = err != nil }) },
		GotConn: func(httptrace.GotConnInfo) {
			note(func() { w.connected, w.ready = true, time.Now() })
		},
	}
}

// problem is the error of a visit that ended here.
func (w *way) problem(v *Visit) *error {
	switch {
	case w.unnamed:
		return &v.Name
	case !w.connected:
		return &v.Connection
	case w.untrusted:
		return &v.TLS
	default:
		return &v.Answer
	}
}

// proxy is the host that is connected to where it is not the registry's.
func (w *way) proxy(registry string) string {
	if host, _, err := net.SplitHostPort(registry); err == nil {
		registry = host
	}
	host, _, err := net.SplitHostPort(w.target)
	if err != nil || host == strings.Trim(registry, "[]") {
		return ""
	}
	return w.target
}
