// Package allocations tells another process what this one has allocated. The
// benchmark links it into its own contenders and, with an overlay at build time
// (go help build), into a build of the shim that is used for nothing else.
package allocations

import (
	"fmt"
	"net"
	"os"
	"runtime"
)

// Variable is the environment variable that names the unix socket to tell it
// on. Without it a process tells nothing.
const Variable = "BENCH_ALLOCATIONS"

func init() {
	socket := os.Getenv(Variable)
	if socket == "" {
		return
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, "allocations:", err)
		os.Exit(1)
	}
	go serve(listener)
}

// serve writes the objects and bytes that were allocated since the start to each
// connection, and closes it.
func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		_, _ = fmt.Fprintln(connection, memory.Mallocs, memory.TotalAlloc)
		_ = connection.Close()
	}
}

// Count is what a process has allocated since its start.
type Count struct{ Objects, Bytes uint64 }

// Read asks the process behind a socket.
func Read(socket string) (Count, error) {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return Count{}, err
	}
	defer func() { _ = connection.Close() }()
	var count Count
	if _, err := fmt.Fscan(connection, &count.Objects, &count.Bytes); err != nil {
		return Count{}, fmt.Errorf("read what was allocated: %w", err)
	}
	return count, nil
}
