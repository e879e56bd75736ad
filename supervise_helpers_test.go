package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
)

// supervise implements `supervise SOCKET NOTES COMMAND...`. Like systemd, it runs a command
// with a listening socket. It writes the command's notifications to the file NOTES.
func supervise() {
	if err := superviseCommand(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		os.Exit(1)
	}
}

func superviseCommand(socket, notes string, command []string) (err error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err != nil {
		return err
	}
	notifications, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notes + ".sock", Net: "unixgram"})
	if err != nil {
		return err
	}
	written, err := os.Create(notes)
	if err != nil {
		return err
	}
	const end = "end of the command"
	done := make(chan error, 1)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := notifications.Read(buffer)
			if err != nil || string(buffer[:n]) == end {
				done <- errors.Join(err, written.Close())
				return
			}
			_, _ = written.Write(append(buffer[:n:n], '\n'))
		}
	}()
	// LISTEN_PID must be the command's process ID, which is known only once it runs.
	cmd := exec.Command("sh", append([]string{"-c", `export LISTEN_PID=$$; exec "$0" "$@"`}, command...)...)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "NOTIFY_SOCKET="+notes+".sock")
	cmd.Stderr = os.Stderr
	err = cmd.Run()
	last, dialed := net.Dial("unixgram", notes+".sock")
	if dialed != nil {
		return errors.Join(err, dialed)
	}
	_, sent := last.Write([]byte(end)) // follows the command's notifications
	return errors.Join(err, sent, <-done, last.Close(), notifications.Close(), file.Close(), listener.Close())
}
