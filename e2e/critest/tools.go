//go:build tools

package critest

// critest has test files only, which no package can import. These imports are its own, and
// keep its dependencies in go.mod.
import (
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
