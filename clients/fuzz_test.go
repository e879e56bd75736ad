package clients_test

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// FuzzThereAndBack requires of any file that install refuses it or makes a change
// that uninstall undoes to the byte, and that a second install has nothing to do.
func FuzzThereAndBack(f *testing.F) {
	for _, seed := range []string{
		"kind: KubeletConfiguration\ncontainerRuntimeEndpoint: \"unix:///run/containerd/containerd.sock\" # x\n",
		"runtime-endpoint: ''\nimage-endpoint: unix:/run/containerd/containerd.sock",
		"a: |+\n  text\n\n", "a: b\r\nruntime-endpoint: \"\"\r\n", "\ufeffruntime-endpoint: ''", "a: b\n...\n", "",
		"KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock --v=2\"\n",
		"{\"kind\": \"KubeletConfiguration\",\n\t\"containerRuntimeEndpoint\": \"unix:///run/containerd/containerd.sock\"}", "{}", "{\n  \"a\": [1]\n}\n",
		"  a: b\n  runtime-endpoint: ''\n", "--- a: b\n", "\t{\"runtime-endpoint\":\"\",\"a\":1}",
		"X='--image-service-endpoint /run/containerd/containerd.sock'",
	} {
		for file := range byte(3) {
			f.Add(file, seed)
		}
	}
	f.Fuzz(func(t *testing.T, file byte, content string) {
		folder := t.TempDir()
		node := newNode(folder)
		name := []string{kubelet, flags, crictl}[file%3]
		write(t, folder, name, content)
		if _, err := node.Install(); err != nil {
			return
		}
		edits := apply(t, node.Install)
		installed := read(t, folder, name)
		if edits > 0 && !strings.Contains(installed, "unix://"+shim) {
			t.Errorf("%q became %q, which does not name the shim", content, installed)
		}
		if apply(t, node.Install) != 0 {
			t.Errorf("%q became %q, and is edited again", content, installed)
		}
		if edits == 0 {
			return // it may name the shim already, with no way back
		}
		if _, err := node.Uninstall(); err != nil && strings.Contains(content, "image-cri-shim.sock") {
			return
		}
		apply(t, node.Uninstall)
		if got := read(t, folder, name); got != content {
			t.Errorf("%q became %q and then %q", content, installed, got)
		}
	})
}
