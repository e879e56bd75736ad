package registry

import (
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// connTrace records the steps of connecting for one request.
type connTrace struct {
	mu            sync.Mutex // a dial may outlive its request
	target        string     // host and port of the connection
	unresolved    bool       // DNS resolution has begun and not succeeded
	connected     bool
	tlsUnfinished bool      // a TLS handshake has begun and not succeeded
	gotConn       time.Time // when the connection was ready for the request
}

func (t *connTrace) hooks() *httptrace.ClientTrace {
	note := func(change func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		change()
	}
	return &httptrace.ClientTrace{
		GetConn:  func(target string) { note(func() { t.target = target }) },
		DNSStart: func(httptrace.DNSStartInfo) { note(func() { t.unresolved = true }) },
		DNSDone:  func(done httptrace.DNSDoneInfo) { note(func() { t.unresolved = done.Err != nil }) },
		// Several addresses may be tried at once.
		ConnectDone:       func(_, _ string, err error) { note(func() { t.connected = t.connected || err == nil }) },
		TLSHandshakeStart: func() { note(func() { t.tlsUnfinished = true }) },
		TLSHandshakeDone:  func(_ tls.ConnectionState, err error) { note(func() { t.tlsUnfinished = err != nil }) },
		GotConn: func(httptrace.GotConnInfo) {
			note(func() { t.connected, t.gotConn = true, time.Now() })
		},
	}
}

// errorField returns the field of p for an error that occurred after the last recorded
// step.
func (t *connTrace) errorField(p *Probe) *error {
	switch {
	case t.unresolved:
		return &p.Name
	case !t.connected:
		return &p.Connection
	case t.tlsUnfinished:
		return &p.TLS
	default:
		return &p.Answer
	}
}

// proxy returns the host and port of the connection, or an empty string if the host is the
// registry's own.
func (t *connTrace) proxy(registry string) string {
	if host, _, err := net.SplitHostPort(registry); err == nil {
		registry = host
	}
	host, _, err := net.SplitHostPort(t.target)
	if err != nil || host == strings.Trim(registry, "[]") {
		return ""
	}
	return t.target
}
