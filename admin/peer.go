package admin

import (
	"errors"
	"fmt"
	"net"
	"os"

	"image-cri-shim/unixsocket"
)

// trustedListener accepts only connections of root and of the current user. The mode of the
// socket's file forbids others too, but may have been changed.
type trustedListener struct{ net.Listener }

// Accept implements [net.Listener]. It closes connections of other users.
func (l trustedListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if checkPeer(connection) == nil {
			return connection, nil
		}
		_ = connection.Close()
	}
}

// ErrUntrustedPeer is returned if the peer of a socket runs as neither root nor the current
// user.
var ErrUntrustedPeer = errors.New("peer is neither root nor the current user")

// checkPeer returns an error unless the peer runs as root or as the current user.
func checkPeer(connection net.Conn) error {
	peer, err := unixsocket.PeerOf(connection)
	if err == nil && peer.User != 0 && peer.User != os.Geteuid() {
		err = fmt.Errorf("%w, but user %d: if the shim runs as that user, run this command as that user", ErrUntrustedPeer, peer.User)
	}
	return err
}
