package registry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// metadataServices are those of cloud providers that have no link-local address: AWS's and
// Alibaba's.
var metadataServices = []string{"fd00:ec2::254", "100.100.100.200"}

// nat64 leads to IPv4 addresses (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

var errMetadata = errors.New("has the address of a cloud provider's metadata service, which is no token server")

// isMetadataService reports whether cloud providers serve a node's secrets at an address. A
// registry that names it as its token server would be sent these as if they were a token.
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

// withoutMetadata returns a context whose requests reach no metadata service, whatever their
// host's name leads to.
func withoutMetadata(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutMetadataKey{}, true)
}

// controlDial refuses a connection that its context does not allow. It is a
// [net.Dialer.ControlContext].
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
