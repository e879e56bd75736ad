package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSockets(t *testing.T) {
	for written, want := range map[string]string{
		"/run/x.sock":                      "/run/x.sock",
		"unix:///run/x.sock":               "/run/x.sock",
		"unix:/run/x.sock":                 "/run/x.sock",
		"unix:////run//./x.sock":           "/run/x.sock",
		"/run/with blank.sock":             "/run/with blank.sock",
		"/run/unix:/x.sock":                "/run/unix:/x.sock",
		"unix:///" + pathOfLength(106):     "/" + pathOfLength(106),
		"/a/../" + pathOfLength(106) + "/": "/" + pathOfLength(106),
	} {
		config, err := Parse("f", []byte("cri: "+written))
		if err != nil {
			t.Errorf("%s is refused: %v", written, err)
		} else if config.Runtime != want {
			t.Errorf("%s is read as %s, want %s", written, config.Runtime, want)
		}
	}
}

func pathOfLength(length int) string { return strings.Repeat("x", length) }

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestDetectRuntime(t *testing.T) {
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	listen(t, path("live"))
	listen(t, path("other"))
	stale := listen(t, path("stale")).(*net.UnixListener)
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path("live"), path("link")); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct{ candidates, want string }{
		{"live other", "live"},
		{"other live", "other"},
		{"missing file stale live other", "live"},
		{"missing link", "link"},
	} {
		var candidates []string
		for _, name := range strings.Fields(test.candidates) {
			candidates = append(candidates, path(name))
		}
		got, err := detectRuntime(t.Context(), candidates)
		if err != nil || got != path(test.want) {
			t.Errorf("of %s: got %s, %v, want %s", test.candidates, got, err, test.want)
		}
	}

	_, err := detectRuntime(t.Context(), []string{path("missing"), path("file"), path("stale")})
	want := fmt.Sprintf("no container runtime answers, tried %s (no such file or directory), %s (not a socket), %s (connection refused): start one or set `cri` to its socket",
		path("missing"), path("file"), path("stale"))
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// The well-known sockets depend on the machine, so the test checks only what holds on every
// machine.
func TestDetectRuntimeOfThisMachine(t *testing.T) {
	socket, err := DetectRuntime(t.Context())
	if err == nil {
		if reason := checkListening(t.Context(), socket); reason != nil {
			t.Errorf("%s was taken and does not answer: %v", socket, reason)
		}
		return
	}
	for _, path := range []string{"/run/containerd/containerd.sock", "/var/run/crio/crio.sock", "/var/run/cri-dockerd.sock"} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s is not in %v", path, err)
		}
	}
}

// The shim's socket is refused at the path of a runtime, which systemd would delete.
func TestShimAtTheRuntime(t *testing.T) {
	folder := t.TempDir()
	for _, link := range []struct{ target, name string }{
		{"shim.sock", "cri.sock"}, {".", "folder"}, {"runtime.sock", "kubelet.sock"},
	} {
		if err := os.Symlink(link.target, filepath.Join(folder, link.name)); err != nil {
			t.Fatal(err)
		}
	}
	listen(t, filepath.Join(folder, "shim.sock"))
	listen(t, filepath.Join(folder, "runtime.sock"))
	const notRuntime, notShim = "f:2: cri: found the socket that the shim serves", "f:1: shim: found the socket of a runtime"
	for file, want := range map[string]string{
		"shim: /run/containerd/containerd.sock":                                  notShim,
		"shim: /var/run/containerd/containerd.sock":                              notShim,
		"shim: /run/crio/crio.sock":                                              notShim,
		"shim: /run/cri-dockerd.sock":                                            notShim,
		"shim: /run/crio/crio.sock\ncri: /run/crio/moved.sock":                   "",
		"shim: /run/image-cri-shim/run/crio/crio.sock":                           "",
		"shim: FOLDER/shim.sock\ncri: FOLDER/cri.sock":                           notRuntime,
		"shim: FOLDER/shim.sock\ncri: FOLDER/folder/shim.sock":                   notRuntime,
		"shim: FOLDER/folder/shim.sock\ncri: FOLDER/shim.sock":                   notRuntime,
		"shim: /var/run/missing.sock\ncri: /run/missing.sock":                    notRuntime,
		"shim: FOLDER/shim.sock\ncri: FOLDER/runtime.sock":                       "",
		"shim: FOLDER/kubelet.sock # meanwhile a link\ncri: FOLDER/runtime.sock": "",
	} {
		_, err := Parse("f", []byte(strings.ReplaceAll(file, "FOLDER", folder)))
		if got := fmt.Sprint(err); (err != nil) != (want != "") || !strings.Contains(got, want) && want != "" {
			t.Errorf("%s: error %v, want %q", file, err, want)
		}
	}
}
