// Package allocations reports the allocations of this process to another one. The
// benchmark links it into its own contenders. With an overlay at build time (go help
// build), it also links it into a second build of the shim, which is used for nothing else.
package allocations

import (
	"fmt"
	"net"
	"os"
	"runtime"
)

// Variable is the environment variable with the path of the unix socket on which to
// report. If it is unset, the process reports nothing.
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

// serve writes the number of objects and bytes allocated since the start to each
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

// Count is the number of objects and bytes that a process has allocated since its start.
type Count struct{ Objects, Bytes uint64 }

// Read reads the count of the process that listens on a socket.
func Read(socket string) (Count, error) {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return Count{}, err
	}
	defer func() { _ = connection.Close() }()
	var count Count
	if _, err := fmt.Fscan(connection, &count.Objects, &count.Bytes); err != nil {
		return Count{}, fmt.Errorf("read the allocations: %w", err)
	}
	return count, nil
}
