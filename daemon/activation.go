package daemon

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"image-cri-shim/unixsocket"
)

// activatedListener returns the listening socket that systemd passed (sd_listen_fds(3)), or
// nil without one. systemd keeps the socket open: after the listener is closed, the socket's
// file remains and clients wait for the next process.
func activatedListener(shim string) (net.Listener, error) {
	var found net.Listener
	var others []string
	for _, file := range activation.Files(true) {
		listener, err := net.FileListener(file)
		_ = file.Close() // the listener has a duplicate
		if err != nil {
			return nil, fmt.Errorf("socket activation: %w", err)
		}
		path := listener.Addr().String()
		if found == nil && listener.Addr().Network() == "unix" && leadsTo(shim, path) {
			found = listener
			continue
		}
		others = append(others, path)
		_ = listener.Close()
	}
	if found == nil && len(others) > 0 {
		return nil, fmt.Errorf("systemd passed the socket %s, expected shim %s: ListenStream= in the socket unit and shim in the configuration must be the same path", strings.Join(others, ", "), shim)
	}
	return found, nil
}

// leadsTo reports whether shim is the path of socket, or a symbolic link to it such as those
// that Symlinks= of a socket unit creates.
func leadsTo(shim, socket string) bool {
	if unixsocket.Same(socket, shim) {
		return true
	}
	configured, err := os.Stat(shim)
	if err != nil {
		return false
	}
	passed, err := os.Stat(socket)
	return err == nil && os.SameFile(configured, passed)
}
