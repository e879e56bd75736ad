package clients_test

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// FuzzThereAndBack requires that install either rejects a file or changes it so that uninstall
// restores it to the byte and a second install changes nothing.
func FuzzThereAndBack(f *testing.F) {
	for _, seed := range []string{
		"kind: KubeletConfiguration\ncontainerRuntimeEndpoint: \"unix:///run/containerd/containerd.sock\" # x\n",
		"runtime-endpoint: ''\nimage-endpoint: unix:/run/containerd/containerd.sock",
		"a: |+\n  text\n\n", "a: b\r\nruntime-endpoint: \"\"\r\n", "\ufeffruntime-endpoint: ''", "a: b\n...\n", "",
		"KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock --v=2\"\n",
		"{\"kind\": \"KubeletConfiguration\",\n\t\"containerRuntimeEndpoint\": \"unix:///run/containerd/containerd.sock\"}", "{}", "{\n  \"a\": [1]\n}\n",
		"  a: b\n  runtime-endpoint: ''\n", "--- a: b\n", "\t{\"runtime-endpoint\":\"\",\"a\":1}",
		"X='--image-service-endpoint /run/containerd/containerd.sock'",
		"kubelet-arg:\n- v=2\n- 'container-runtime-endpoint=/run/containerd/containerd.sock'\n",
		"container-runtime-endpoint: /run/containerd/containerd.sock\nkubelet-arg: image-service-endpoint=unix:///run/containerd/containerd.sock\n",
	} {
		for file := range byte(5) {
			f.Add(file, seed)
		}
	}
	f.Fuzz(func(t *testing.T, file byte, content string) {
		name := []string{kubelet, flags, crictl, "etc/rancher/k3s/config.yaml", "var/snap/microk8s/current/args/kubelet"}[file%5]
		folder, node := distributionNode(t, containerd, map[string]string{name: content})
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
			return // it may name the shim already, without a backup
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
