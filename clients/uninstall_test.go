package clients_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

// TestUninstallWithoutBackup requires that uninstall sets the runtime's endpoint where the
// former one is unknown, and names the place.
func TestUninstallWithoutBackup(t *testing.T) {
	const endpoint, former = "unix://" + shim, "unix://" + containerd
	for _, test := range []struct{ name, file, content, backup, want, unknown string }{
		{"crictl, by the doctor's hint", crictl, "runtime-endpoint: " + endpoint + "\nimage-endpoint: " + endpoint + "\n", "",
			"runtime-endpoint: " + former + "\nimage-endpoint: " + former + "\n", "line 1: runtime-endpoint, line 2: image-endpoint"},
		{"kubelet, on a node of sealos", kubelet, "maxPods: 5\ncontainerRuntimeEndpoint: '" + endpoint + "' # x\n", "",
			"maxPods: 5\ncontainerRuntimeEndpoint: '" + former + "' # x\n", "line 2: containerRuntimeEndpoint"},
		{"a flag", flags, "A=\"--container-runtime-endpoint=" + endpoint + " --v=2\"\n", "",
			"A=\"--container-runtime-endpoint=" + former + " --v=2\"\n", "line 1: container-runtime-endpoint"},
		{"JSON", kubelet, `{"containerRuntimeEndpoint": "` + endpoint + `"}`, "", `{"containerRuntimeEndpoint": "` + former + `"}`, "line 1: containerRuntimeEndpoint"},
		{"the shim in the backup too", crictl, "image-endpoint: " + containerd + "\nruntime-endpoint: " + endpoint + "\n", "runtime-endpoint: " + endpoint + "\n",
			"image-endpoint: " + containerd + "\nruntime-endpoint: " + former + "\n", "line 2: runtime-endpoint"},
		{"a flag that is not in the backup", flags, "A=\"--image-service-endpoint=" + shim + " --container-runtime-endpoint=" + endpoint + "\"\n", "A=\"--container-runtime-endpoint=/a.sock\"\n",
			"A=\"--image-service-endpoint=" + former + " --container-runtime-endpoint=/a.sock\"\n", "line 1: image-service-endpoint"},
		{"a backup that can't be parsed", crictl, "runtime-endpoint: " + endpoint + "\n", "a: b: c\n", "runtime-endpoint: " + former + "\n", "line 1: runtime-endpoint"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			node := newNode(folder)
			write(t, folder, test.file, test.content)
			if test.backup != "" {
				write(t, folder, test.file+".image-cri-shim.bak", test.backup)
			}
			changes, err := node.Uninstall()
			if err != nil {
				t.Fatal(err)
			}
			var unknown []string
			for _, change := range changes {
				unknown = append(unknown, change.Unknown...)
			}
			if got := strings.Join(unknown, ", "); got != test.unknown {
				t.Errorf("unknown: %s, want %s", got, test.unknown)
			}
			apply(t, node.Uninstall)
			if got := read(t, folder, test.file); got != test.want {
				t.Errorf("%s is\n%s, want\n%s", test.file, got, test.want)
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*.bak")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestUninstallWithoutRuntime requires an error with the line to write if neither a backup nor
// the runtime is known.
func TestUninstallWithoutRuntime(t *testing.T) {
	const endpoint = "unix://" + shim
	for _, test := range []struct{ file, content, want string }{
		{kubelet, "a: b\ncontainerRuntimeEndpoint: \"" + endpoint + "\"\n", "line 2: containerRuntimeEndpoint: points at the shim, and its former value is unknown, and no runtime is known: " +
			"change the line to `containerRuntimeEndpoint: \"unix:///run/containerd/containerd.sock\"` (with the socket of this node's runtime), or set `cri` to that socket"},
		{flags, "A=\"--container-runtime-endpoint=" + endpoint + "\"\n", "change the line to `A=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"`"},
	} {
		for _, runtime := range []string{"", shim, "/run/a b.sock"} {
			folder := t.TempDir()
			write(t, folder, test.file, test.content)
			node := newNode(folder)
			node.Runtime = runtime
			if changes, err := node.Uninstall(); err == nil || !strings.Contains(err.Error(), test.file+": ") || !strings.Contains(err.Error(), test.want) || len(changes) > 0 {
				t.Errorf("with the runtime %q, the error is %v, want %s", runtime, err, test.want)
			}
		}
	}
	folder := t.TempDir()
	write(t, folder, unit, "[Service]\nEnvironment=\"A=--container-runtime-endpoint="+endpoint+"\"\n")
	want := "10-kubeadm.conf: line 2: container-runtime-endpoint: points at the shim, and is in a systemd unit, which is not edited: " +
		"change the line to `Environment=\"A=--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"`, then run systemctl daemon-reload"
	if _, err := newNode(folder).Uninstall(); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// TestUninstallDespiteCrictl requires that a file of crictl that can't be read or written does
// not prevent the change of kubelet's.
func TestUninstallDespiteCrictl(t *testing.T) {
	const installed, want = "containerRuntimeEndpoint: unix://" + shim + "\n", "containerRuntimeEndpoint: unix://" + containerd + "\n"
	for name, spoil := range map[string]func(folder string, node *clients.Node){
		"no YAML":  func(folder string, _ *clients.Node) { write(t, folder, crictl, "a: b: c\n") },
		"a folder": func(_ string, node *clients.Node) { _ = os.Mkdir(node.Crictl, 0o700) },
		"no runtime": func(folder string, node *clients.Node) {
			write(t, folder, crictl, "runtime-endpoint: unix://"+shim+"\n")
		},
		"no folder to write to": func(_ string, node *clients.Node) {
			node.Crictl = filepath.Join(filepath.Dir(node.Crictl), "etc", crictl)
			_ = os.Mkdir(filepath.Dir(node.Crictl), 0o700)
			_ = os.WriteFile(node.Crictl, []byte("runtime-endpoint: unix://"+shim+"\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			node := newNode(folder)
			write(t, folder, kubelet, installed)
			write(t, folder, kubelet+".image-cri-shim.bak", want)
			spoil(folder, node)
			if name == "no runtime" {
				node.Runtime = ""
			}
			changes, err := node.Uninstall()
			if err != nil {
				t.Fatal(err)
			}
			if name == "no folder to write to" {
				if err := os.RemoveAll(filepath.Dir(node.Crictl)); err != nil {
					t.Fatal(err)
				}
			}
			if err := clients.ApplyAll(changes); err != nil {
				t.Fatal(err)
			}
			if got := read(t, folder, kubelet); got != want {
				t.Errorf("config.yaml is %q, want %q", got, want)
			}
			if !slices.ContainsFunc(changes, func(c clients.Change) bool { return c.Path == node.Crictl && c.Problem != nil }) {
				t.Error("crictl's problem is not reported")
			}
		})
	}
}
