package clients_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

// TestCreatesCrictl requires that install creates crictl's file on a node with crictl, and that
// uninstall and a revert remove it, unless other settings were added.
func TestCreatesCrictl(t *testing.T) {
	const want = "runtime-endpoint: unix://" + shim + "\nimage-endpoint: unix://" + shim + "\n"
	folder := t.TempDir()
	node := newNode(folder)
	write(t, folder, kubelet, "containerRuntimeEndpoint: "+containerd+"\n")
	missing := func(when string) {
		t.Helper()
		for _, path := range []string{node.Crictl, node.Crictl + ".image-cri-shim.bak"} {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s exists: %v", when, path, err)
			}
		}
	}
	apply(t, node.Install)
	missing("without crictl")
	apply(t, node.Uninstall)

	node.CreateCrictl = true
	changes, err := node.Install()
	if err != nil {
		t.Fatal(err)
	}
	created := changes[len(changes)-1]
	if diff := created.Diff(); !strings.HasPrefix(diff, "--- /dev/null\n+++ "+node.Crictl+"\n@@") || !strings.HasSuffix(diff, "\n+image-endpoint: unix://"+shim+"\n") {
		t.Errorf("the diff is\n%s", diff)
	}
	if err := clients.ApplyAll(changes); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(node.Crictl)
	if err != nil || info.Mode() != 0o644 || read(t, folder, crictl) != want {
		t.Errorf("the file has mode %v and content %q, %v", info.Mode(), read(t, folder, crictl), err)
	}
	if err := clients.RevertAll(changes); err != nil {
		t.Error(err)
	}
	missing("reverted")

	for range 2 {
		apply(t, node.Install)
	}
	changes, err = node.Uninstall()
	if err != nil {
		t.Fatal(err)
	}
	if removed := changes[len(changes)-1]; !removed.Removed() || !strings.Contains(removed.Diff(), "\n+++ /dev/null\n") {
		t.Errorf("the diff is\n%s", removed.Diff())
	}
	apply(t, node.Uninstall)
	missing("uninstalled")

	apply(t, node.Install)
	write(t, folder, crictl, read(t, folder, crictl)+"timeout: 2\n")
	apply(t, node.Uninstall)
	if got := read(t, folder, crictl); got != "timeout: 2\n" {
		t.Errorf("with another setting, the file is in the end %q", got)
	}

	write(t, folder, crictl, "") // an empty file of another origin stays
	apply(t, node.Install)
	apply(t, node.Uninstall)
	if got := read(t, folder, crictl); got != "" {
		t.Errorf("the file is %q", got)
	}
}
