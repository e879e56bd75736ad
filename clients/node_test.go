package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

const (
	shim       = "/run/image-cri-shim.sock"
	containerd = "/run/containerd/containerd.sock"
)

// The names of a node's files in this test.
const (
	kubelet  = "config.yaml"
	instance = "instance-config.yaml"
	flags    = "kubeadm-flags.env"
	extra    = "default-kubelet"
	dropIn   = "10-runtime.conf"
	unit     = "10-kubeadm.conf"
	crictl   = "crictl.yaml"
)

func newNode(folder string) *clients.Node {
	return &clients.Node{
		Kubelet:         filepath.Join(folder, kubelet),
		KubeletDropIns:  []string{filepath.Join(folder, dropIn)},
		KubeletInstance: filepath.Join(folder, instance),
		KubeletFlags:    []string{filepath.Join(folder, flags), filepath.Join(folder, extra)},
		KubeletUnits:    []string{filepath.Join(folder, unit)},
		Crictl:          filepath.Join(folder, crictl),
		Shim:            shim,
		Runtime:         containerd,
		SameSocket: func(a, b string) bool {
			return strings.TrimPrefix(a, "/var") == strings.TrimPrefix(b, "/var")
		},
	}
}

func write(t testing.TB, folder, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, folder, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// apply applies the planned changes and returns the number of edited files.
func apply(t testing.TB, plan func() ([]clients.Change, error)) (edits int) {
	t.Helper()
	changes, err := plan()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if err := change.Apply(); err != nil {
			t.Fatal(err)
		}
		if change.Changed() {
			edits++
		}
	}
	return edits
}

// TestInstallAndUninstall installs twice and uninstalls twice. The second run changes nothing,
// and in the end every file has its original content.
func TestInstallAndUninstall(t *testing.T) {
	const endpoint = "unix://" + shim
	tests := map[string]struct {
		files map[string]string
		want  map[string]string // only what changes
	}{
		"only the instance sets it": {
			map[string]string{
				kubelet:  "kind: KubeletConfiguration\n",
				instance: "containerRuntimeEndpoint: unix://" + containerd + "\n",
			},
			map[string]string{
				kubelet:  "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: " + endpoint + "\n",
				instance: "containerRuntimeEndpoint: " + endpoint + "\n",
			},
		},
		"kubeadm since 1.34": {
			files: map[string]string{
				kubelet:  "apiVersion: kubelet.config.k8s.io/v1beta1\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\nkind: KubeletConfiguration\n",
				instance: "containerRuntimeEndpoint: \"unix:///var/run/containerd/containerd.sock\"\n",
				flags:    "KUBELET_KUBEADM_ARGS=\"\"\n",
			},
			want: map[string]string{
				kubelet:  "apiVersion: kubelet.config.k8s.io/v1beta1\ncontainerRuntimeEndpoint: " + endpoint + "\nkind: KubeletConfiguration\n",
				instance: "containerRuntimeEndpoint: \"" + endpoint + "\"\n",
			},
		},
		"kubeadm before, with a flag that wins over an empty key": {
			files: map[string]string{
				kubelet: "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: \"\"\n",
				flags:   "# comment --container-runtime-endpoint=x\nKUBELET_KUBEADM_ARGS=\"--a=b --container-runtime-endpoint unix:///run/containerd/containerd.sock --image_service_endpoint=/run/containerd/containerd.sock\"",
			},
			want: map[string]string{
				flags: "# comment --container-runtime-endpoint=x\nKUBELET_KUBEADM_ARGS=\"--a=b --container-runtime-endpoint " + endpoint + " --image_service_endpoint=" + endpoint + "\"",
			},
		},
		"the operator's own flags": {
			files: map[string]string{
				kubelet: "kind: KubeletConfiguration\n",
				extra:   "KUBELET_EXTRA_ARGS=--container-runtime-endpoint=/run/containerd/containerd.sock\n",
			},
			want: map[string]string{extra: "KUBELET_EXTRA_ARGS=--container-runtime-endpoint=" + endpoint + "\n"},
		},
		"nothing is set": {
			files: map[string]string{kubelet: "kind: KubeletConfiguration\n# the end", crictl: ""},
			want:  map[string]string{kubelet: "kind: KubeletConfiguration\n# the end\ncontainerRuntimeEndpoint: " + endpoint, crictl: "runtime-endpoint: " + endpoint + "\n"},
		},
		"empty in quotes": {
			files: map[string]string{kubelet: "containerRuntimeEndpoint: '' # usual\r\n", crictl: "timeout: 0\nruntime-endpoint: \"\"\nimage-endpoint: \"\"\n"},
			want:  map[string]string{kubelet: "containerRuntimeEndpoint: '" + endpoint + "' # usual\r\n", crictl: "timeout: 0\nruntime-endpoint: \"" + endpoint + "\"\nimage-endpoint: \"\"\n"},
		},
		"odd but clear": {
			files: map[string]string{crictl: "---\n\"ключ\": [ü, &a b, *a]\n'image-endpoint' :   'unix:/run/containerd/containerd.sock'\nruntime-endpoint:\tunix:///run//containerd/containerd.sock #x\n...\n"},
			want:  map[string]string{crictl: "---\n\"ключ\": [ü, &a b, *a]\n'image-endpoint' :   '" + endpoint + "'\nruntime-endpoint:\t" + endpoint + " #x\n...\n"},
		},
		"JSON, as on EKS": {
			files: map[string]string{kubelet: "{\n  \"kind\": \"KubeletConfiguration\",\n  \"a\": {\"containerRuntimeEndpoint\": 1},\n  \"containerRuntimeEndpoint\": \"unix:///run/containerd/containerd.sock\",\n  \"imageServiceEndpoint\" :\"\"\n}\n"},
			want:  map[string]string{kubelet: "{\n  \"kind\": \"KubeletConfiguration\",\n  \"a\": {\"containerRuntimeEndpoint\": 1},\n  \"containerRuntimeEndpoint\": \"" + endpoint + "\",\n  \"imageServiceEndpoint\" :\"\"\n}\n"},
		},
		"JSON without the key": {
			files: map[string]string{kubelet: "{\n\t\"kind\": \"KubeletConfiguration\",\n\t\"maxPods\": 50\n}", crictl: "{}"},
			want:  map[string]string{kubelet: "{\n\t\"containerRuntimeEndpoint\": \"" + endpoint + "\",\n\t\"kind\": \"KubeletConfiguration\",\n\t\"maxPods\": 50\n}", crictl: "{\"runtime-endpoint\": \"" + endpoint + "\"}"},
		},
		"JSON in one line": {
			files: map[string]string{kubelet: `{"kind":"KubeletConfiguration"}`, crictl: "{\n}\n"},
			want:  map[string]string{kubelet: `{"containerRuntimeEndpoint": "` + endpoint + `","kind":"KubeletConfiguration"}`, crictl: "{\n\"runtime-endpoint\": \"" + endpoint + "\"\n}\n"},
		},
		"indented as a whole": {
			files: map[string]string{kubelet: "  # as in a manifest\n  kind: KubeletConfiguration\n  maxPods: 50\n", crictl: "---\n    runtime-endpoint: /run/containerd/containerd.sock\n    timeout: 2\n"},
			want:  map[string]string{kubelet: "  # as in a manifest\n  kind: KubeletConfiguration\n  maxPods: 50\n  containerRuntimeEndpoint: " + endpoint + "\n", crictl: "---\n    runtime-endpoint: " + endpoint + "\n    timeout: 2\n"},
		},
		"a drop-in of the configuration": {
			files: map[string]string{
				kubelet: "kind: KubeletConfiguration\n",
				dropIn:  "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n",
				unit:    "[Service]\nExecStart=/usr/bin/kubelet --config-dir=/etc/kubelet.conf.d\n",
			},
			want: map[string]string{dropIn: "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: " + endpoint + "\n"},
		},
		"an empty key and no flag": {
			files: map[string]string{kubelet: "containerRuntimeEndpoint: \"\"\n", flags: ""},
			want:  map[string]string{kubelet: "containerRuntimeEndpoint: \"" + endpoint + "\"\n"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for file, content := range test.files {
				write(t, folder, file, content)
			}
			node := newNode(folder)
			if edits := apply(t, node.Install); edits != len(test.want) {
				t.Errorf("install edits %d files, want %d", edits, len(test.want))
			}
			for file, content := range test.files {
				want := content
				if changed, ok := test.want[file]; ok {
					want = changed
				}
				if got := read(t, folder, file); got != want {
					t.Errorf("%s is\n%q, want\n%q", file, got, want)
				}
			}
			if edits := apply(t, node.Install); edits != 0 {
				t.Errorf("installed again, %d files are edited", edits)
			}
			if edits := apply(t, node.Uninstall); edits != len(test.want) {
				t.Errorf("uninstall edits %d files, want %d", edits, len(test.want))
			}
			for file, content := range test.files {
				if got := read(t, folder, file); got != content {
					t.Errorf("%s is in the end\n%q, want\n%q", file, got, content)
				}
			}
			if edits := apply(t, node.Uninstall); edits != 0 {
				t.Errorf("uninstalled again, %d files are edited", edits)
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*.bak")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestOthersEditsStay requires that edits between install and uninstall are kept.
func TestOthersEditsStay(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	write(t, folder, crictl, "runtime-endpoint: 'unix:///run/containerd/containerd.sock'\n")
	write(t, folder, kubelet, "kind: KubeletConfiguration\n")
	apply(t, node.Install)
	write(t, folder, crictl, "debug: true\n"+read(t, folder, crictl)+"image-endpoint: unix://"+shim+"\ntimeout: 2\n")
	write(t, folder, kubelet, read(t, folder, kubelet)+"maxPods: 50\n")
	apply(t, node.Uninstall)
	if got, want := read(t, folder, crictl), "debug: true\nruntime-endpoint: 'unix:///run/containerd/containerd.sock'\ntimeout: 2\n"; got != want {
		t.Errorf("crictl.yaml is %q, want %q", got, want)
	}
	if got, want := read(t, folder, kubelet), "kind: KubeletConfiguration\nmaxPods: 50\n"; got != want {
		t.Errorf("config.yaml is %q, want %q", got, want)
	}
}

// TestBackupFollowsTheFile lets an upgrade by kubeadm rewrite the file between two installs.
// The backup then holds the new file.
func TestBackupFollowsTheFile(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	write(t, folder, kubelet, "containerRuntimeEndpoint: /run/containerd/containerd.sock\n")
	apply(t, node.Install)
	const upgraded = "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\nnew: true\n"
	write(t, folder, kubelet, upgraded)
	apply(t, node.Install)
	apply(t, node.Uninstall)
	if got := read(t, folder, kubelet); got != upgraded {
		t.Errorf("config.yaml is %q, want %q", got, upgraded)
	}

	// A file that no longer points at the shim needs no backup.
	apply(t, node.Install)
	write(t, folder, kubelet, upgraded)
	if edits := apply(t, node.Uninstall); edits != 0 {
		t.Errorf("uninstall edits %d files", edits)
	}
	if _, err := os.Stat(filepath.Join(folder, kubelet+".image-cri-shim.bak")); !os.IsNotExist(err) {
		t.Errorf("the backup is left: %v", err)
	}
}
