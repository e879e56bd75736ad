package doctor

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/admin"
)

// TestCheckReadyHungRuntime requires that a runtime that hangs behind a running shim is named as
// the cause.
func TestCheckReadyHungRuntime(t *testing.T) {
	folder := t.TempDir()
	shim, about := filepath.Join(folder, "shim.sock"), filepath.Join(folder, "admin.sock")
	silent, err := net.Listen("unix", shim) // accepts connections and does not answer
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	listener, err := net.Listen("unix", about)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { admin.Reply(w, ShimStatus{Shim: shim}, nil) })}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	if err := CheckReady(t.Context(), shim, about); err == nil || !strings.Contains(err.Error(), "its runtime hangs: restart the runtime") {
		t.Errorf("got %v", err)
	}
	changed := filepath.Join(folder, "changed.sock") // without a restart
	if err := CheckReady(t.Context(), changed, about); err == nil || !strings.Contains(err.Error(), "the shim still serves its former socket "+shim) {
		t.Errorf("got %v", err)
	}
}
