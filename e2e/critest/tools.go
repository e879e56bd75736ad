//go:build tools

package critest

// critest has only test files, which no package can import. The imports below keep the
// dependencies of these test files in go.mod.
import (
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
