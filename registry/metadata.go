package registry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// metadataServices are the addresses of metadata services that are not link-local: those of
// AWS (IPv6) and Alibaba.
var metadataServices = []string{"fd00:ec2::254", "100.100.100.200"}

// nat64 is the prefix of IPv6 addresses that embed an IPv4 address (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

var errMetadata = errors.New("address belongs to a cloud provider's metadata service, not to a token server")

// isMetadataService reports whether ip is the address of a cloud provider's metadata
// service, which serves secrets of the node. If a registry could name it as its token
// server, the shim would send these secrets to the registry as a token.
func isMetadataService(ip net.IP) bool {
	address, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	address = address.Unmap()
	if nat64.Contains(address) {
		inner := address.As16()
		address = netip.AddrFrom4([4]byte(inner[12:]))
	}
	for _, service := range metadataServices {
		if address == netip.MustParseAddr(service) {
			return true
		}
	}
	return address.IsLinkLocalUnicast()
}

type withoutMetadataKey struct{}

// withoutMetadata returns a context for requests that must not connect to a metadata
// service. The check is made on the resolved address.
func withoutMetadata(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutMetadataKey{}, true)
}

// controlDial returns an error for a connection to a metadata service if the context is one
// of withoutMetadata. It is a [net.Dialer.ControlContext].
func controlDial(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if ctx.Value(withoutMetadataKey{}) == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip != nil && isMetadataService(ip) {
		return errMetadata
	}
	return nil
}
