package clients_test

import (
	"os"
	"strings"
	"testing"
)

// TestRefusals requires an error that names the place in a file that can't be edited with
// certainty, and leaves the file unchanged.
func TestRefusals(t *testing.T) {
	const endpoint = "unix:///run/containerd/containerd.sock"
	tests := map[string]struct{ file, content, want string }{
		"another runtime":       {kubelet, "a: b\ncontainerRuntimeEndpoint: unix:///run/crio/crio.sock\n", "config.yaml: line 2: containerRuntimeEndpoint: found unix:///run/crio/crio.sock, expected the shim's own runtime unix:///run/containerd/containerd.sock"},
		"dockershim":            {crictl, "runtime-endpoint: unix:///var/run/dockershim.sock\n", "this is the socket of dockershim, which Kubernetes 1.24 removed"},
		"an image proxy":        {kubelet, "imageServiceEndpoint: unix:///run/stargz/stargz.sock\n", "line 1: imageServiceEndpoint: found unix:///run/stargz/stargz.sock, expected the shim's own runtime unix:///run/containerd/containerd.sock: this is an image service apart from the runtime"},
		"another runtime, flag": {flags, "A=\"--container_runtime_endpoint=unix:///run/crio/crio.sock\"\n", "set `cri` to the intended runtime"},
		"a flag in a unit":      {unit, "[Service]\nEnvironment=\"A=--container-runtime-endpoint=" + endpoint + "\"\n", "10-kubeadm.conf: line 2: container-runtime-endpoint: is in a systemd unit, which is not edited"},
		"JSON twice":            {kubelet, `{"containerRuntimeEndpoint": "", "containerRuntimeEndpoint": ""}`, "line 1: containerRuntimeEndpoint: is set twice"},
		"JSON with an escape":   {kubelet, `{"containerRuntimeEndpoint": "unix:\/\/\/run/x"}`, "line 1: containerRuntimeEndpoint: expected an endpoint in quotes, without escapes"},
		"JSON that is no text":  {crictl, "{\n\"runtime-endpoint\": null}", "line 2: runtime-endpoint: expected an endpoint in quotes"},
		"JSON of another kind":  {kubelet, `{"kind": "Pod"}`, "line 1: kind: found \"Pod\", expected KubeletConfiguration"},
		"no socket":             {crictl, "runtime-endpoint: tcp://127.0.0.1:1\n", "crictl.yaml: line 1: runtime-endpoint: found tcp://127.0.0.1:1"},
		"twice":                 {crictl, "runtime-endpoint: " + endpoint + "\nruntime-endpoint: " + endpoint + "\n", "line 2: runtime-endpoint: is set twice"},
		"an alias":              {crictl, "a: &a " + endpoint + "\nruntime-endpoint: *a\n", "line 2: runtime-endpoint: expected an endpoint after it"},
		"an anchor":             {crictl, "runtime-endpoint: &a " + endpoint + "\n", "line 1: runtime-endpoint: expected an endpoint after it"},
		"a tag":                 {crictl, "runtime-endpoint: !!str " + endpoint + "\n", "line 1: runtime-endpoint: expected a literal endpoint"},
		"a merge":               {crictl, "a: &a {runtime-endpoint: x}\n<<: *a\n", "line 2: expected a plain key"},
		"an escape":             {crictl, "runtime-endpoint: \"unix:\\x2f//run/containerd/containerd.sock\"\n", "line 1: runtime-endpoint: expected a literal endpoint"},
		"the next line":         {crictl, "runtime-endpoint:\n  " + endpoint + "\n", "line 1: runtime-endpoint: expected an endpoint after it, on the same line"},
		"no value":              {crictl, "runtime-endpoint:\n", "line 1: runtime-endpoint: expected an endpoint after it"},
		"a block":               {crictl, "runtime-endpoint: |\n  " + endpoint + "\n", "line 1: runtime-endpoint: expected a literal endpoint"},
		"a list":                {crictl, "runtime-endpoint: [" + endpoint + "]\n", "line 1: runtime-endpoint: expected an endpoint after it"},
		"flow style":            {crictl, "{runtime-endpoint: \"" + endpoint + "\"}\n", "line 1: expected keys with values, one on each line"},
		"a list of all":         {crictl, "- runtime-endpoint: " + endpoint + "\n", "line 1: expected keys with values"},
		"two documents":         {crictl, "a: b\n---\nruntime-endpoint: " + endpoint + "\n", "found a second YAML document"},
		"no YAML":               {crictl, "a: b: c\n", "yaml: mapping values"},
		"another kind":          {kubelet, "kind: Pod\n", "line 1: kind: found \"Pod\", expected KubeletConfiguration"},
		"no place at the end":   {crictl, "timeout: 2\n...\n", "can't add a line for runtime-endpoint at its end"},
		"a flag twice":          {flags, "A=\"--container-runtime-endpoint=" + endpoint + "\nB=\"--container_runtime_endpoint=" + endpoint + "\"\n", "kubeadm-flags.env: line 2: container-runtime-endpoint: is set twice"},
		"a flag without value":  {flags, "A=\"--container-runtime-endpoint --v=2\"\n", "line 1: container-runtime-endpoint: expected an endpoint after it"},
		"a flag with quotes":    {flags, "A='--container-runtime-endpoint=\"" + endpoint + "\"'\n", "line 1: container-runtime-endpoint: expected an endpoint after it"},
		"a flag with variables": {flags, "A=\"--container-runtime-endpoint=$SOCKET\"\n", "line 1: container-runtime-endpoint: expected an endpoint after it"},
		"a flag over lines":     {flags, "A=\"--container-runtime-endpoint \\\n" + endpoint + "\"\n", "line 1: container-runtime-endpoint: expected an endpoint after it"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, test.file, test.content)
			_, err := newNode(folder).Install()
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.file) {
				t.Errorf("the error is %v, want %s: %s", err, test.file, test.want)
			}
		})
	}
}

func TestRefusesOtherNodes(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, kubelet, "kind: KubeletConfiguration\n")
	node := newNode(folder)
	node.Runtime = "/run/cri-dockerd.sock"
	_, err := node.Install()
	if want := "is not set, so the client uses unix:///run/containerd/containerd.sock"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("with kubelet's usual runtime, which is not the shim's, the error is %v, want %q", err, want)
	}
	node.Runtime = "/var/run/crio/crio.sock"
	if _, err := node.Install(); err == nil || !strings.Contains(err.Error(), "the runtime is CRI-O") {
		t.Errorf("in front of CRI-O the error is %v", err)
	}
	node.Shim = "/run/a b.sock"
	if _, err := node.Install(); err == nil || !strings.Contains(err.Error(), "that need quotes") {
		t.Errorf("with a space in the shim's socket the error is %v", err)
	}
}

func TestFilesThatCannotBeReplaced(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	write(t, folder, "elsewhere.yaml", "")
	if err := os.Symlink("elsewhere.yaml", node.Crictl); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(node.KubeletFlags[0], 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := node.Install()
	for _, want := range []string{"crictl.yaml: is a symbolic link to elsewhere.yaml: name that file instead", "kubeadm-flags.env: is not a regular file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}
