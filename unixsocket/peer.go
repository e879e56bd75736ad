package unixsocket

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a connection, as it was when it connected.
type Peer struct {
	Process int // its identifier; 0 if it is of another PID namespace
	User    int
}

// UnknownPeer stands for a process that can't be identified.
var UnknownPeer = Peer{Process: -1, User: -1}

// PeerOf returns the process that has made a connection to a unix socket, or that listens on
// the socket (SO_PEERCRED, unix(7)). With an error it is UnknownPeer.
func PeerOf(connection net.Conn) (Peer, error) {
	socket, ok := connection.(syscall.Conn)
	if !ok {
		return UnknownPeer, fmt.Errorf("a %T has no user", connection)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return UnknownPeer, err
	}
	var credentials *unix.Ucred
	controlErr := raw.Control(func(descriptor uintptr) {
		credentials, err = unix.GetsockoptUcred(int(descriptor), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if controlErr != nil {
		return UnknownPeer, controlErr
	}
	if err != nil {
		return UnknownPeer, err
	}
	return Peer{Process: int(credentials.Pid), User: int(credentials.Uid)}, nil
}
