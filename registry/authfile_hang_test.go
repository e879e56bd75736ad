package registry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// hold blocks the opening of a file until the test ends, like an unreachable network file
// system. The kernel limits the time to /proc/sys/fs/lease-break-time.
func hold(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if _, _, failed := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_SETLEASE, syscall.F_WRLCK); failed != 0 {
		t.Skipf("no leases on files here: %v", failed)
	}
}

// A file that hangs delays only the lookups that need it.
func TestAuthFileThatHangs(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	private, public := serve(t, basicAuth(contents)), serve(t, contents)
	path := filepath.Join(t.TempDir(), "config.json")
	warnings := make(chan string, 10)
	set := newSet(t, registry.Options{
		LookupTimeout: testTimeout,
		Registries:    []registry.Config{{Address: public.URL, Priority: 2}, {Address: private.URL, AuthFile: path, Priority: 1}},
		OnAuthFile:    func(err error) { warnings <- err.Error() },
	})
	content := object{"auths": object{private.host(): encoded(username, password)}}
	writeAuthFile(t, path, content)
	if answers := find(t, set, "nginx:1.25"); answers[1].State != registry.Found {
		t.Fatalf("%v (%v), want it found", answers[1].State, answers[1].Err)
	}
	writeAuthFile(t, path, content)
	hold(t, path)

	second := make(chan registry.Answer, 1)
	for answer := range set.Find(t.Context(), parse(t, "nginx:1.25")) {
		if answer.Registry == public.URL {
			if answer.State != registry.Found {
				t.Errorf("%v (%v), want the image of the registry without the file found", answer.State, answer.Err)
			}
			continue
		}
		second <- answer
	}
	if answer := <-second; answer.State != registry.Found || answer.Credentials.Password != password {
		t.Errorf("%v (%v), want it found with the last good credentials", answer.State, answer.Err)
	}
	if warning := receive(t, warnings, "warning"); !strings.Contains(warning, "not read in time") {
		t.Errorf("the warning is %q", warning)
	}
}

// Waiting for a file that has never been read ends after the lookup timeout.
func TestAuthFileThatHangsAtFirst(t *testing.T) {
	server := serve(t, newStorage())
	path := filepath.Join(t.TempDir(), "config.json")
	writeAuthFile(t, path, object{})
	hold(t, path)
	set := newSet(t, registry.Options{
		LookupTimeout: 100 * time.Millisecond,
		Registries:    []registry.Config{{Address: server.URL, AuthFile: path}},
	})
	answer := findOne(t, set, "nginx:1.25")
	if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "in time") && !strings.Contains(fmt.Sprint(answer.Err), "lookup continues") {
		t.Errorf("%v (%v), want it unknown", answer.State, answer.Err)
	}
}
