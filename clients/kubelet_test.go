package clients_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

func TestKubeletConfig(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{"conf.d/20-b.conf", "conf.d/10-a.conf", "conf.d/README", "conf.d/sub/30-c.conf"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, folder, path, "")
	}
	dropIns := []string{"10-a.conf", "20-b.conf", "sub/30-c.conf"}
	for _, test := range []struct {
		name    string
		files   []string
		file    string
		dropIns []string
	}{
		{"nothing", []string{"", "KUBELET_EXTRA_ARGS=--v=2\n"}, "", nil},
		{"kubeadm's unit", []string{"[Service]\nEnvironment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\nExecStart=/usr/bin/kubelet $KUBELET_CONFIG_ARGS\n"}, "/var/lib/kubelet/config.yaml", nil},
		{"EKS", []string{"ExecStart=/usr/bin/kubelet \\\n    --config /etc/kubernetes/kubelet/kubelet-config.json \\\n    --config-dir=FOLDER/conf.d \\\n    $KUBELET_ARGS"}, "/etc/kubernetes/kubelet/kubelet-config.json", dropIns},
		{"underscores and quotes", []string{"A='--config=\"/a.yaml\" --config_dir=\"FOLDER/conf.d\"'"}, "/a.yaml", dropIns},
		{"the last counts", []string{"A=--config=/a.yaml --config=/b.yaml", "B=--config=/c.yaml"}, "/c.yaml", nil},
		{"comments", []string{"#A=--config=/a.yaml\n; B=--config=/b.yaml"}, "", nil},
		{"other flags", []string{"A=--kubeconfig=/a.yaml --bootstrap-config=/b.yaml --config-file=/c.yaml"}, "", nil},
		{"no path", []string{"A=--config=$CONFIG --config-dir=relative"}, "", nil},
		{"no folder", []string{"A=--config-dir=/no/such/folder"}, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := []string{filepath.Join(folder, "missing")}
			for i, content := range test.files {
				name := "flags" + string(rune('0'+i))
				write(t, folder, name, strings.ReplaceAll(content, "FOLDER", folder))
				files = append(files, filepath.Join(folder, name))
			}
			file, found := clients.KubeletConfig(files)
			for i := range found {
				found[i] = strings.TrimPrefix(found[i], folder+"/conf.d/")
			}
			if file != test.file || !slices.Equal(found, test.dropIns) {
				t.Errorf("%q and %q, want %q and %q", file, found, test.file, test.dropIns)
			}
		})
	}
}

// TestShimEndpoints requires that the endpoints are found from the files' content alone,
// independent of backups.
func TestShimEndpoints(t *testing.T) {
	const endpoint = "unix://" + shim
	for _, test := range []struct {
		name, file, content, want string
	}{
		{"by hand", kubelet, "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: " + endpoint + "\n", "line 2: containerRuntimeEndpoint"},
		{"by another way to the socket", crictl, "image-endpoint: /var" + shim + "\n", "line 1: image-endpoint"},
		{"a flag with underscores", flags, "A=\"--container_runtime_endpoint=" + endpoint + "\"\n", "line 1: container-runtime-endpoint"},
		{"JSON", kubelet, "{\n\"containerRuntimeEndpoint\": \"" + endpoint + "\"}", "line 2: containerRuntimeEndpoint"},
		{"a drop-in", dropIn, "imageServiceEndpoint: " + endpoint, "line 1: imageServiceEndpoint"},
		{"a unit", unit, "Environment=A=--container-runtime-endpoint=" + endpoint, "line 1: container-runtime-endpoint"},
		{"a file that can't be parsed", crictl, "{runtime-endpoint: \"" + endpoint + "\"}\n", "line 1"},
		{"a comment", crictl, "# runtime-endpoint: " + endpoint + "\n[\n", ""},
		{"another key", crictl, "note: " + endpoint + "\n", ""},
		{"the runtime", kubelet, "containerRuntimeEndpoint: " + containerd, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, test.file, test.content)
			write(t, folder, kubelet+".image-cri-shim.bak", "containerRuntimeEndpoint: "+endpoint)
			places, err := newNode(folder).ShimEndpoints()
			want := ""
			if test.want != "" {
				want = filepath.Join(folder, test.file) + ": " + test.want
			}
			if got := strings.Join(places, "\n"); err != nil || got != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
	node := newNode(t.TempDir())
	if err := os.Mkdir(node.Crictl, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := node.ShimEndpoints(); err == nil {
		t.Error("a folder in a file's place is no error")
	}
}
