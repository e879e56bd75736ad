package registry

import (
	"errors"
	"net"
	"testing"
)

func TestServesSecrets(t *testing.T) {
	for address, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "fe80::1": true,
		"fd00:ec2::254": true, "100.100.100.200": true,
		"10.0.0.1": false, "127.0.0.1": false, "fd00::1": false, "64:ff9b::a00:1": false, "192.0.2.1": false,
	} {
		if got := isMetadataService(net.ParseIP(address)); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
}

// A host name that resolves to a metadata service is rejected as a token server. The registry
// itself may have such an address.
func TestTokenServerIsNoMetadataService(t *testing.T) {
	if err := controlDial(withoutMetadata(t.Context()), "tcp4", "169.254.169.254:80", nil); !errors.Is(err, errMetadata) {
		t.Errorf("got %v", err)
	}
	if err := controlDial(withoutMetadata(t.Context()), "tcp4", "127.0.0.1:80", nil); err != nil {
		t.Error(err)
	}
	if err := controlDial(t.Context(), "tcp4", "169.254.20.10:5000", nil); err != nil {
		t.Error(err)
	}
}
