package admin

import (
	"errors"
	"fmt"
	"net"
	"os"

	"image-cri-shim/unixsocket"
)

// trustedListener accepts connections of root and this process's own user only. The socket
// file's mode forbids others too, unless it has been changed.
type trustedListener struct{ net.Listener }

// Accept implements [net.Listener]. Others' connections are closed unanswered.
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

// ErrUntrustedPeer is the error for a process at the other end of a socket that is neither
// root's nor this user's.
var ErrUntrustedPeer = errors.New("neither root nor this user is on the other side")

// checkPeer returns an error unless the peer is root's or this process's own user's.
func checkPeer(connection net.Conn) error {
	peer, err := unixsocket.PeerOf(connection)
	if err == nil && peer.User != 0 && peer.User != os.Geteuid() {
		err = fmt.Errorf("%w, but user %d: if the shim is that user's, ask as that user", ErrUntrustedPeer, peer.User)
	}
	return err
}
