package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Client is the process at the other end of a connection, as it was when it connected.
type Client struct {
	Process int // its identifier; 0 where it is of another PID namespace
	User    int
}

// Nobody is who can't be told.
var Nobody = Client{Process: -1, User: -1}

// ClientOf returns who has made a connection to a unix socket (SO_PEERCRED, unix(7)).
func ClientOf(connection net.Conn) Client {
	socket, ok := connection.(syscall.Conn)
	if !ok {
		return Nobody
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Nobody
	}
	client := Nobody
	_ = raw.Control(func(descriptor uintptr) { // if it fails nobody is told
		if credentials, err := unix.GetsockoptUcred(int(descriptor), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			client = Client{Process: int(credentials.Pid), User: int(credentials.Uid)}
		}
	})
	return client
}
