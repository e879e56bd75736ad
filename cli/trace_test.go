package cli_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/admin"
	"image-cri-shim/trace"
)

// TestTraceOfOlderShim looks back with a running shim that does not know how to, and answers
// with calls from now on. This must not look as if there were no earlier calls.
func TestTraceOfOlderShim(t *testing.T) {
	folder := t.TempDir()
	configuration := filepath.Join(folder, "shim.yaml")
	if err := os.WriteFile(configuration, []byte("image: "+folder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", admin.Socket(folder))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- admin.Serve(ctx, listener, http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
			_ = trace.WriteHeader(response, trace.NewHeader("old"))
		}))
	}()
	stdout, stderr, code := run(t, "trace --file "+configuration+" --since 1m")
	if code != 1 || stdout != "" || !strings.Contains(stderr, admin.ErrUnknown.Error()) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
