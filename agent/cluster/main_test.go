package cluster

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain requires that no goroutine outlives the tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
