package daemon

import (
	"fmt"
	"net"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"image-cri-shim/unixsocket"
)

// activatedListener returns the listening socket that systemd has passed (sd_listen_fds(3)),
// nil if it has passed none. systemd keeps the socket: closing the listener leaves the file,
// and clients wait for the next process.
func activatedListener(shim string) (net.Listener, error) {
	var found net.Listener
	var others []string
	for _, file := range activation.Files(true) {
		listener, err := net.FileListener(file)
		_ = file.Close() // the listener has its own
		if err != nil {
			return nil, fmt.Errorf("socket activation: %w", err)
		}
		path := listener.Addr().String()
		if found == nil && listener.Addr().Network() == "unix" && unixsocket.Same(path, shim) {
			found = listener
			continue
		}
		others = append(others, path)
		_ = listener.Close()
	}
	if found == nil && len(others) > 0 {
		return nil, fmt.Errorf("systemd listens on %s, expected shim %s: ListenStream= of the socket unit and shim of the configuration must be the same", strings.Join(others, ", "), shim)
	}
	return found, nil
}
