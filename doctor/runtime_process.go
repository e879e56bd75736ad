package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"image-cri-shim/unixsocket"
)

// runtimeProcess is the process that listens on the runtime's socket. Its fields are empty if
// they are unknown.
type runtimeProcess struct {
	config  string // file that the flag --config names
	started time.Time
}

// findRuntimeProcess returns the process that listens on a socket.
func findRuntimeProcess(ctx context.Context, socket string) (p runtimeProcess) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return p
	}
	defer func() { _ = connection.Close() }()
	peer, err := unixsocket.PeerOf(connection)
	if err != nil || peer.Process <= 0 {
		return p
	}
	folder := fmt.Sprintf("/proc/%d", peer.Process)
	if arguments, err := os.ReadFile(folder + "/cmdline"); err == nil {
		p.config = configFlag(arguments)
	}
	if p.config != "" && !filepath.IsAbs(p.config) {
		p.config = filepath.Join(folder, "cwd", p.config)
	}
	p.started = startTime(folder)
	return p
}

// configFlag returns the value of containerd's flag --config or -c. arguments is the content
// of /proc/PID/cmdline.
func configFlag(arguments []byte) (file string) {
	fields := strings.Split(strings.TrimRight(string(arguments), "\x00"), "\x00")
	for i, field := range fields {
		name, value, hasValue := strings.Cut(field, "=")
		switch {
		case i == 0 || strings.TrimLeft(name, "-") != "config" && name != "-c":
		case hasValue:
			file = value
		case i+1 < len(fields):
			file = fields[i+1]
		}
	}
	return file
}

// startTime returns the time at which the process of a folder in /proc started (proc(5)).
func startTime(folder string) time.Time {
	const ticksPerSecond = 100 // on every architecture of Linux with Go
	const afterName = 19       // index of starttime behind the name in parentheses
	content, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return time.Time{}
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) <= afterName {
		return time.Time{}
	}
	ticks, err := strconv.ParseInt(fields[afterName], 10, 64)
	var sinceBoot unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &sinceBoot) != nil {
		return time.Time{}
	}
	age := time.Duration(sinceBoot.Nano()) - time.Duration(ticks)*time.Second/ticksPerSecond
	return time.Now().Add(-age)
}
