package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const listenForm = "host:port such as 127.0.0.1:9465, a port, an absolute path or unix:///path"

// parseListenAddress parses an address to listen on: a unix socket, returned as an absolute
// path, or host:port. The default host is the loopback address.
func parseListenAddress(v value) (string, error) {
	written := v.node.Value
	if v.kind() != "a number" { // a port alone is a number
		var err error
		if written, err = parseText(v, listenForm); err != nil || written == "" {
			return "", err
		}
	}
	if strings.HasPrefix(written, "/") || strings.HasPrefix(written, "unix:") {
		return parseSocket(v)
	}
	if !strings.Contains(written, ":") {
		written = ":" + written
	}
	host, port, err := net.SplitHostPort(written)
	if err != nil {
		return "", v.unexpected(listenForm)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", v.unexpected(listenForm + ", with a port from 1 to 65535")
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !hostname.MatchString(host) {
		return "", v.unexpected(listenForm)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// checkMetrics checks the keys metrics and pprof against each other and against the sockets.
func (c *Config) checkMetrics(set map[string]value) {
	v := set["metrics"]
	switch {
	case c.Metrics == "":
		if c.PProf {
			set["pprof"].warn("has no effect without metrics; set metrics, or remove it")
		}
	case c.Metrics == c.Shim || c.Metrics == c.Runtime:
		v.problem("found the socket of shim or cri, expected a separate one")
	case !isLoopback(c.Metrics):
		v.warn("is open to every machine that can reach it, without a password; use 127.0.0.1 to serve this machine only")
	}
}

// isLoopback reports whether only this machine can reach an address of
// [parseListenAddress].
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return true // a socket
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
