package unixsocket_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// timeout bounds each wait of a test.
const timeout = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// temporarySocket returns a path short enough for a unix socket (108 bytes). A path under
// t.TempDir is too long in a test with a long name.
func temporarySocket(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "unixsocket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return filepath.Join(folder, "test.sock")
}
