package admin

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
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
	user, err := peer(connection)
	if err == nil && user != 0 && user != os.Geteuid() {
		err = fmt.Errorf("%w, but user %d: if the shim is that user's, ask as that user", ErrStranger, user)
	}
	return err
}

// peer is the user on the other side of a unix socket (SO_PEERCRED, unix(7)).
func peer(connection net.Conn) (user int, err error) {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("a %T has no user", connection)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	controlErr := raw.Control(func(descriptor uintptr) {
		credentials, err = unix.GetsockoptUcred(int(descriptor), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if controlErr != nil {
		return 0, controlErr
	}
	if err != nil {
		return 0, err
	}
	return int(credentials.Uid), nil
}
