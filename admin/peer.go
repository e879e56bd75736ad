package admin

import (
	"errors"
	"fmt"
	"net"
	"os"

	"image-cri-shim/unixsocket"
)

// guard lets only root and this process's own user in. The socket file's mode
// says so too; this holds as well where a folder or a mode has been opened.
type guard struct{ net.Listener }

// Accept implements [net.Listener]. Others' connections are closed unanswered.
func (g guard) Accept() (net.Conn, error) {
	for {
		connection, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if trusted(connection) == nil {
			return connection, nil
		}
		_ = connection.Close()
	}
}

// ErrStranger says that somebody is on a socket who is neither root nor this user.
var ErrStranger = errors.New("neither root nor this user is on the other side")

// trusted tells whether root or this process's own user is on the other side.
func trusted(connection net.Conn) error {
	peer, err := unixsocket.PeerOf(connection)
	if err == nil && peer.User != 0 && peer.User != os.Geteuid() {
		err = fmt.Errorf("%w, but user %d: if the shim is that user's, ask as that user", ErrStranger, peer.User)
	}
	return err
}
