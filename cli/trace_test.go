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

// traceShim answers requests for a trace with answer until the test ends. It returns the shim's
// configuration.
func traceShim(t *testing.T, answer http.HandlerFunc) (configuration string) {
	t.Helper()
	folder := t.TempDir()
	configuration = filepath.Join(folder, "shim.yaml")
	if err := os.WriteFile(configuration, []byte("image: "+folder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", admin.Socket(folder))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, listener, answer) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return configuration
}

// TestTraceOfOlderShim looks back with a running shim that does not know how to, and answers
// with calls from now on. This must not look as if there were no earlier calls.
func TestTraceOfOlderShim(t *testing.T) {
	configuration := traceShim(t, func(response http.ResponseWriter, _ *http.Request) {
		_ = trace.WriteHeader(response, trace.NewHeader("old"))
	})
	stdout, stderr, code := run(t, "trace --file "+configuration+" --since 1m")
	if code != 1 || stdout != "" || !strings.Contains(stderr, admin.ErrUnknown.Error()) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// TestFiltersWithOlderShim traces a running shim that ignores filters, as one does that does not
// know them. Calls that do not match must not be shown.
func TestFiltersWithOlderShim(t *testing.T) {
	configuration := traceShim(t, func(response http.ResponseWriter, request *http.Request) {
		_ = trace.WriteHeader(response, trace.NewHeader("old"))
		for _, pod := range []string{"dev/web-0", "prod/web-0"} {
			_ = trace.WriteEvent(response, trace.Event{Kind: trace.KindCall, Method: "/runtime.v1.RuntimeService/StopPodSandbox", Pod: pod})
		}
		_ = http.NewResponseController(response).Flush()
		<-request.Context().Done()
	})
	stdout, stderr, code := run(t, "trace --file "+configuration+" --namespace prod --count 1")
	if code != 0 || strings.Contains(stdout, "dev/web-0") || !strings.Contains(stdout, "prod/web-0") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}
