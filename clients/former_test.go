package clients_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFormerShim requires that install moves clients from the shim's former socket to the
// present one, and that uninstall restores their endpoints from before the first install, also
// after a change of only some of the files.
func TestFormerShim(t *testing.T) {
	const next = "/run/image-cri-shim/next.sock"
	originals := map[string]string{
		kubelet:  "maxPods: 5\ncontainerRuntimeEndpoint: \"unix://" + containerd + "\" # x\n",
		instance: "containerRuntimeEndpoint: " + containerd + "\n",
		flags:    "A=\"--container-runtime-endpoint=" + containerd + "\"\n",
		crictl:   "timeout: 2\n",
	}
	for name, moves := range map[string][]string{
		"all files are moved": {kubelet, instance, flags, crictl},
		"killed in between":   {kubelet},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for file, content := range originals {
				write(t, folder, file, content)
			}
			apply(t, newNode(folder).Install)

			moved := newNode(folder)
			moved.Shim = next
			if _, err := moved.Install(); err == nil || !strings.Contains(err.Error(), "found unix://"+shim) {
				t.Errorf("without the former socket, install returns %v", err)
			}
			moved.FormerShims = []string{shim}
			changes, err := moved.Install()
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range changes {
				if slices.Contains(moves, filepath.Base(change.Path)) {
					if err := change.Apply(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for file := range originals {
				want := shim
				if slices.Contains(moves, file) {
					want = next
				}
				if content := read(t, folder, file); !strings.Contains(content, want) {
					t.Errorf("%s does not contain %s:\n%s", file, want, content)
				}
			}
			if places, err := moved.ShimEndpoints(); err != nil || len(places) < len(originals) {
				t.Errorf("places that name the shim: %q, %v", places, err)
			}
			apply(t, moved.Uninstall)
			for file, content := range originals {
				if got := read(t, folder, file); got != content {
					t.Errorf("after uninstall, %s is\n%s", file, got)
				}
			}
		})
	}
}
