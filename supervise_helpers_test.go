package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
)

// supervise is what systemd is to a service: `supervise SOCKET NOTES COMMAND...`
// runs a command with a listening socket, and writes to a file what it is told.
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
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notes + ".sock", Net: "unixgram"})
	if err != nil {
		return err
	}
	written, err := os.Create(notes)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := told.Read(buffer)
			if err != nil {
				done <- written.Close()
				return
			}
			_, _ = written.Write(append(buffer[:n:n], '\n'))
		}
	}()
	// Its process ID is known only when it runs.
	cmd := exec.Command("sh", append([]string{"-c", `export LISTEN_PID=$$; exec "$0" "$@"`}, command...)...)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "NOTIFY_SOCKET="+notes+".sock")
	cmd.Stderr = os.Stderr
	err = cmd.Run()
	return errors.Join(err, told.Close(), <-done, file.Close(), listener.Close())
}
