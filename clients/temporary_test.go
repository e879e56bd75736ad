package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

// TestTemporaryFiles requires that the files of writes that were killed are replaced by the next
// install, and removed by uninstall even if it has nothing to restore.
func TestTemporaryFiles(t *testing.T) {
	const suffix = ".image-cri-shim.tmp"
	folder := t.TempDir()
	node := newNode(folder)
	write(t, folder, kubelet, "containerRuntimeEndpoint: unix://"+containerd+"\n")
	left := func() {
		for _, file := range []string{kubelet, kubelet + ".image-cri-shim.bak"} {
			write(t, folder, file+suffix, "half")
			if err := os.Chmod(filepath.Join(folder, file+suffix), 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(plan func() ([]clients.Change, error), entries string) {
		t.Helper()
		left()
		apply(t, plan)
		var names []string
		found, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range found {
			names = append(names, entry.Name())
		}
		if got := strings.Join(names, " "); got != entries {
			t.Errorf("the folder has %s, want %s", got, entries)
		}
	}
	want(node.Install, kubelet+" "+kubelet+".image-cri-shim.bak")
	want(node.Uninstall, kubelet)
	want(node.Uninstall, kubelet)
}
