package unixsocket

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a connection, as of its connect(2) or listen(2).
type Peer struct {
	Process int // process ID; 0 if the process is in another PID namespace
	User    int // user ID
}

// UnknownPeer is the Peer of a process that can't be identified.
var UnknownPeer = Peer{Process: -1, User: -1}

// PeerOf returns the process at the other end of a unix socket connection (SO_PEERCRED,
// unix(7)): for a server the process that connected, for a client the process that listens.
// If it returns an error, the Peer is UnknownPeer.
func PeerOf(connection net.Conn) (Peer, error) {
	socket, ok := connection.(syscall.Conn)
	if !ok {
		return UnknownPeer, fmt.Errorf("a %T has no peer credentials", connection)
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

// ProcessName returns the name of a process's program (comm in proc(5)), or "" if it is
// unknown.
func ProcessName(process int) string {
	if process <= 0 {
		return ""
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process)) // the process may have ended
	return strings.TrimSuffix(string(comm), "\n")
}
