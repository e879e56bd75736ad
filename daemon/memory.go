package daemon

import (
	"os"
	"runtime/debug"
)

// memoryLimit is the memory, in bytes, beyond which Go collects garbage without waiting for
// the heap to double. A node's shim uses a few percent of it. Answers of a runtime that
// floods the shim are bounded by size, but their garbage is not: it doubled the peak.
const memoryLimit = 512 << 20

// setMemoryLimit sets the limit, unless the environment has one (GOMEMLIMIT, package runtime).
func setMemoryLimit() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
