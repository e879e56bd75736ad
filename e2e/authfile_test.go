package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// TestAuthFileOfTheNode uses the login in an auth file for lookups and for the runtime's
// pulls, and the new login after the file has changed.
func TestAuthFileOfTheNode(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		file := filepath.Join(t.TempDir(), "config.json")
		writeAuthFile(t, file, shared.private, wrongPassword)
		n := newNode(t, runtime, fmt.Sprintf("address: %s\nauthFile: %s\ndebug: true\n", shared.private.Address(), file))
		if got, want := n.pull(t, n.through, "nginx:1.25", callerLogin), shared.id(t, shared.upstream, "library/nginx:1.25"); got != want {
			t.Errorf("with the wrong password: pulled image %s, want docker.io's %s", got, want)
		}
		shared.private.ResetRequests()
		shared.upstream.ResetRequests()
		writeAuthFile(t, file, shared.private, privatePassword)
		if got, want := n.pull(t, n.through, "nginx:latest", callerLogin), shared.id(t, shared.private, "library/nginx:latest"); got != want {
			t.Errorf("with the right password: pulled image %s, want the private registry's %s", got, want)
		}
		wantCredentials(t, privateUser)
	})
}

func writeAuthFile(t *testing.T, file string, registry *testbed.Registry, password string) {
	t.Helper()
	writeLogin(t, file, registry, map[string]string{"username": privateUser, "password": password})
}

// writeLogin replaces the file atomically, as tools that change it do.
func writeLogin(t *testing.T, file string, registry *testbed.Registry, login map[string]string) {
	t.Helper()
	content := asJSON(t, map[string]any{"auths": map[string]any{registry.Host(): login}})
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}
