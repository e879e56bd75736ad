package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/config"
)

// TestClientsAdvice tests the precedence of kubelet's files, and the hints for different
// kinds of endpoints.
func TestClientsAdvice(t *testing.T) {
	const shim, runtime = "/run/shim.sock", "/run/containerd/containerd.sock"
	folder := t.TempDir()
	n := &node{Options: Options{File: config.DefaultFile, Settings: &config.Config{Shim: shim, Runtime: runtime}, Files: Files{
		Kubelet:      []string{filepath.Join(folder, "config"), filepath.Join(folder, "drop-in")},
		KubeletFlags: []string{filepath.Join(folder, "kubelet.service"), filepath.Join(folder, "flags")},
		Crictl:       filepath.Join(folder, "crictl"),
		Kubeadm:      []string{filepath.Join(folder, "kubeadm")},
	}}}
	const endpoint = "containerRuntimeEndpoint: unix://"
	install := "image-cri-shim install --crictl-config " + n.Files.Crictl // one that the user named
	for _, test := range []struct {
		name       string
		check      check
		files      map[string]string
		file       string
		level      Level
		text, hint string
	}{
		{"a drop-in counts more", checkKubelet, map[string]string{"config": endpoint + shim, "drop-in": endpoint + runtime}, "drop-in", Fail, "not the shim's", install + ", then systemctl restart kubelet"},
		{"a drop-in with the shim", checkKubelet, map[string]string{"config": endpoint + runtime, "drop-in": endpoint + shim}, "drop-in", OK, "uses the shim", ""},
		{"a flag counts most", checkKubelet, map[string]string{"drop-in": endpoint + shim, "flags": "A=--container_runtime_endpoint=" + runtime}, "flags", Fail, "not the shim's", install + ", then systemctl restart kubelet"},
		{"a unit, which install refuses", checkKubelet, map[string]string{"kubelet.service": "ExecStart=/usr/bin/kubelet --container-runtime-endpoint=" + runtime}, "kubelet.service", Fail, "not the shim's", "kubelet.service, then systemctl daemon-reload and systemctl restart kubelet"},
		{"another runtime, which install refuses", checkKubelet, map[string]string{"config": endpoint + "/run/other.sock"}, "config", Fail, "not the shim's", "set containerRuntimeEndpoint: unix:///run/shim.sock"},
		{"no endpoint", checkKubelet, map[string]string{"config": "kind: KubeletConfiguration"}, "config", Fail, "no endpoint is set", install + ", then"},
		{"dockershim", checkKubelet, map[string]string{"flags": "A=--container-runtime-endpoint=unix:///var/run/dockershim.sock"}, "flags", Fail, "kubelet's endpoint is \"unix:///var/run/dockershim.sock\", but kubelet 1.24 removed dockershim", "--network-plugin"},
		{"an image proxy", checkKubelet, map[string]string{"config": endpoint + shim, "drop-in": "imageServiceEndpoint: unix:///run/containerd-stargz-grpc/containerd-stargz-grpc.sock"}, "drop-in", Fail, "pulls go to an image proxy", "image_service_path"},
		{"the runtime for images", checkKubelet, map[string]string{"config": endpoint + shim + "\nimageServiceEndpoint: " + runtime}, "config", Fail, "kubelet's image endpoint is", "remove imageServiceEndpoint"},
		{"crictl and dockershim", checkCrictl, map[string]string{"crictl": "runtime-endpoint: unix:///var/run/dockershim.sock"}, "crictl", Warn, "crictl's endpoint is \"unix:///var/run/dockershim.sock\", but kubelet 1.24 removed dockershim", "set runtime-endpoint"},
		{"crictl and the runtime", checkCrictl, map[string]string{"crictl": "runtime-endpoint: unix://" + runtime}, "crictl", Warn, "not the shim's", "image-cri-shim install"},
		{"crictl and an image proxy", checkCrictl, map[string]string{"crictl": "runtime-endpoint: " + shim + "\nimage-endpoint: unix:///run/proxy.sock"}, "crictl", Warn, "an image proxy", "image-endpoint"},
		{"kubeadm and dockershim", checkKubeadm, map[string]string{"kubeadm": "nodeRegistration: {criSocket: /var/run/dockershim.sock}"}, "kubeadm", Warn, "but kubelet 1.24 removed dockershim", "set criSocket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"config", "drop-in", "kubelet.service", "flags", "crictl", "kubeadm"} {
				path := filepath.Join(folder, name)
				_ = os.Remove(path)
				if content, ok := test.files[name]; ok {
					if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := test.check(context.Background(), n)
			if len(got) != 1 || got[0].Subject != filepath.Join(folder, test.file) || got[0].Level != test.level ||
				!strings.Contains(got[0].Text, test.text) || !strings.Contains(got[0].Hint, test.hint) {
				t.Errorf("%+v", got)
			}
			if strings.Contains(test.name, "runtime for images") && strings.Contains(got[0].Text, "proxy") {
				t.Errorf("the runtime is taken for a proxy: %+v", got)
			}
		})
	}
}

// TestUnsetEndpoint requires that install is the remedy for a missing endpoint only if kubelet
// uses the shim's runtime then: install refuses otherwise.
func TestUnsetEndpoint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("kind: KubeletConfiguration\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for runtime, hint := range map[string]string{"/run/containerd/containerd.sock": "image-cri-shim install --kubelet-config " + file, "/run/crio/crio.sock": "set containerRuntimeEndpoint: unix:///run/shim.sock"} {
		n := &node{Options: Options{File: config.DefaultFile, Settings: &config.Config{Shim: "/run/shim.sock", Runtime: runtime}, Files: Files{Kubelet: []string{file}, KubeletNamed: true}}}
		wantFinding(t, checkKubelet(t.Context(), n), Fail, "no endpoint is set", hint)
	}
}
