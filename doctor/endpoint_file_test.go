package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKubeletFlags(t *testing.T) {
	for _, test := range []struct {
		content        string
		runtime, image string
	}{
		{"", "", ""},
		{`KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/a.sock --pod-infra-container-image=p:1"`, "unix:///run/a.sock", ""},
		{"KUBELET_EXTRA_ARGS=--container-runtime-endpoint /run/a.sock --image-service-endpoint='/run/b.sock'", "/run/a.sock", "/run/b.sock"},
		{"KUBELET_EXTRA_ARGS=--container-runtime-endpoint=/a --container-runtime-endpoint=/b", "/b", ""}, // as kubelet does
		{"A=--container-runtime-endpoint=/a\nB=--container-runtime-endpoint=/b\n", "/b", ""},
		{"#A=--container-runtime-endpoint=/a\n; B=--container-runtime-endpoint=/b", "", ""},
		{"A=\"--v=2 \\\n  --container-runtime-endpoint=/a\"", "/a", ""},
		{"A=--container-runtime-endpoints=/a --x--container-runtime-endpoint=/b", "", ""},
		{"A=--container-runtime-endpoint", "", ""},
		{"A=--container_runtime_endpoint=/a --image_service_endpoint /b", "/a", "/b"},
		{"[Service]\nEnvironment=\"A=--container-runtime-endpoint=/a\"\nExecStart=/usr/bin/kubelet $A", "/a", ""},
		{"ExecStart=/usr/bin/kubelet \\\n  --image-service-endpoint=/b \\\n  $A\n", "", "/b"},
		{"--container-runtime-endpoint=/a", "", ""}, // no variable
	} {
		if got := parseKubeletFlags(test.content); got != (endpoints{test.runtime, test.image}) {
			t.Errorf("%q: %+v", test.content, got)
		}
	}
}

// FuzzKubeletFlags requires that an endpoint is a substring of the file without spaces.
func FuzzKubeletFlags(f *testing.F) {
	f.Add(`A="--container-runtime-endpoint=unix:///run/a.sock --image-service-endpoint /b"`)
	f.Add("A=--container-runtime-endpoint \\\n=")
	f.Fuzz(func(t *testing.T, content string) {
		found := parseKubeletFlags(content)
		for _, endpoint := range []string{found.Runtime, found.Image} {
			if !strings.Contains(unquote.Replace(content), endpoint) || strings.ContainsAny(endpoint, " \t\n\"'") {
				t.Errorf("%q: %q", content, endpoint)
			}
		}
	})
}

func TestEndpointFiles(t *testing.T) {
	folder := t.TempDir()
	file := func(content string) string {
		path := filepath.Join(folder, "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got, err := readKubelet(file("apiVersion: kubelet.config.k8s.io/v1beta1\ncontainerRuntimeEndpoint: unix:///a\nimageServiceEndpoint: /b\n")); err != nil || got != (endpoints{"unix:///a", "/b"}) {
		t.Errorf("kubelet: %+v, %v", got, err)
	}
	if got, err := readCrictl(file("runtime-endpoint: unix:///a\nimage-endpoint: \"\"\ntimeout: 2\n")); err != nil || got != (endpoints{"unix:///a", ""}) {
		t.Errorf("crictl: %+v, %v", got, err)
	}
	got, err := readKubeadm(file("kind: ClusterConfiguration\n---\nnodeRegistration:\n  criSocket: /a\n---\ncontainerRuntimeEndpoint: unix:///b\n"))
	if err != nil || !slices.Equal(got, []string{"/a", "unix:///b"}) {
		t.Errorf("kubeadm: %q, %v", got, err)
	}
	if got, err := readKubelet(file("{\n\t\"kind\": \"KubeletConfiguration\",\n\t\"containerRuntimeEndpoint\":\t\"unix:///a\"\n}\n")); err != nil || got != (endpoints{"unix:///a", ""}) {
		t.Errorf("JSON with tabs: %+v, %v", got, err)
	}
	if got, err := readKubelet(file("  kind: KubeletConfiguration\n  containerRuntimeEndpoint: /a\n")); err != nil || got != (endpoints{"/a", ""}) {
		t.Errorf("indented as a whole: %+v, %v", got, err)
	}
	if got, err := readKubelet(file("")); err != nil || got != (endpoints{}) {
		t.Errorf("an empty file: %+v, %v", got, err)
	}
	if _, err := readKubelet(file("a: canary: b")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a damaged file: %v", err)
	}
	if _, err := readKubelet(folder); err == nil {
		t.Error("a folder is no error")
	}
}
