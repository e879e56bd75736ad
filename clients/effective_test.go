package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

// TestReplacedArguments requires that an endpoint counts only if no later arguments of kubelet
// replace it: those of a file without a + behind the key, or of the unit.
func TestReplacedArguments(t *testing.T) {
	const (
		folder  = "etc/rancher/k3s/config.yaml.d/"
		shim    = "kubelet-arg: [\"container-runtime-endpoint=unix:///run/image-cri-shim.sock\"]\n"
		service = "etc/systemd/system/k3s-agent.service"
	)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"replaced by a file after that of install", map[string]string{folder + "zz.yml": "kubelet-arg: [v=2]\n"}, ""},
		{"alone", map[string]string{folder + "10.yaml": shim}, "unix:///run/image-cri-shim.sock"},
		{"appended", map[string]string{folder + "10.yaml": shim, folder + "20.yaml": "kubelet-arg+: v=2\n"}, "unix:///run/image-cri-shim.sock"},
		{"replaced", map[string]string{folder + "10.yaml": shim, folder + "zz.yaml": "kubelet-arg: [v=2]\n"}, ""},
		{"set again", map[string]string{folder + "10.yaml": "kubelet-arg: [v=2]\n", folder + "20.yaml": shim}, "unix:///run/image-cri-shim.sock"},
		{"replaced in the unit", map[string]string{folder + "10.yaml": shim, service: "[Service]\nExecStart=/usr/local/bin/k3s \\\n    agent \\\n\t'--kubelet-arg' \\\n\t'v=2' \\\n"}, ""},
		{"other arguments in the unit", map[string]string{folder + "10.yaml": shim, service: "[Service]\nExecStart=/usr/local/bin/k3s agent --kube-proxy-arg=v=2\n"}, "unix:///run/image-cri-shim.sock"},
		{"the other key remains", map[string]string{"etc/rancher/k3s/config.yaml": "container-runtime-endpoint: /a.sock\n", folder + "10.yaml": shim, folder + "20.yaml": "kubelet-arg: [v=2]\n"}, "/a.sock"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range test.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			found := clients.FindDistributions(root)
			runtime, _, err := found[0].Endpoints()
			if err != nil || runtime.Value != test.want {
				t.Errorf("got %+v, %v, want %q", runtime, err, test.want)
			}
			node := newNode(root)
			node.Distributions, node.Runtime = found, k3sRuntime
			if _, err := node.Install(); (test.want == "") != (err != nil && strings.Contains(err.Error(), "kubelet-arg")) && test.want != "/a.sock" {
				t.Errorf("install: %v", err)
			}
		})
	}
}
