package doctor

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

// startKubelet starts a process that is named kubelet, in folder, until the test ends.
func startKubelet(t *testing.T, folder string, arguments ...string) int {
	program := filepath.Join(folder, "kubelet")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nread end\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	kubelet := exec.CommandContext(t.Context(), program, arguments...)
	kubelet.Dir = folder
	end, err := kubelet.StdinPipe()
	if err := errors.Join(err, kubelet.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(end.Close(), kubelet.Wait()) })
	for range 500 { // until it has its name
		if unixsocket.ProcessName(kubelet.Process.Pid) == "kubelet" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return kubelet.Process.Pid
}

const connectionShim = "/run/shim.sock"

// kubeletNode returns a node whose file of kubelet names the shim, and its folder.
func kubeletNode(t *testing.T) (n *node, folder string) {
	folder = t.TempDir()
	file := filepath.Join(folder, "config.yaml")
	if err := os.WriteFile(file, []byte("containerRuntimeEndpoint: unix://"+connectionShim), 0o600); err != nil {
		t.Fatal(err)
	}
	n = &node{Options: Options{Settings: &config.Config{Shim: connectionShim}, Files: Files{Kubelet: []string{file}}}}
	n.shimStatus.Clients = []explain.ShimClient{{Process: 7, Name: "crictl"}}
	return n, folder
}

// TestKubeletConnection compares the shim's clients with the processes of this node.
func TestKubeletConnection(t *testing.T) {
	examined, folder := kubeletNode(t)
	file := filepath.Join(folder, "config.yaml")
	startKubelet(t, folder, "--config="+file)
	crictl := explain.ShimClient{Process: 7, Name: "crictl"}
	for _, test := range []struct {
		name       string
		status     ShimStatus
		files      []string
		level      Level
		text, hint string
	}{
		{"connected", ShimStatus{Clients: []explain.ShimClient{{Process: 4711, Name: "kubelet"}, crictl}}, []string{file}, OK, "kubelet (pid 4711) is connected", ""},
		{"connected, without a file", ShimStatus{Clients: []explain.ShimClient{{Process: 4711, Name: "kubelite"}}}, []string{"none"}, OK, "kubelet (pid 4711) is connected", ""},
		{"not restarted", ShimStatus{Clients: []explain.ShimClient{crictl}}, []string{file}, Fail, "is not connected to the shim", "systemctl restart kubelet"},
		{"without a file", ShimStatus{Clients: []explain.ShimClient{}}, []string{"none"}, OK, "", ""},
		{"a client in another namespace", ShimStatus{Clients: []explain.ShimClient{{Process: 0}}}, []string{file}, OK, "", ""},
		{"an older shim", ShimStatus{}, []string{file}, OK, "", ""},
		{"a shim that waits", ShimStatus{Waiting: "/run/cri.sock", Clients: []explain.ShimClient{}}, []string{file}, OK, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &node{Options: Options{Settings: examined.Settings, Files: Files{Kubelet: test.files}}, shimStatus: test.status}
			wantFinding(t, checkKubeletConnection(t.Context(), n), test.level, test.text, test.hint)
		})
	}
}

// TestKubeletCommandLine tests the forms in which a kubelet that is not connected was started.
func TestKubeletCommandLine(t *testing.T) {
	const (
		shim, runtime = "--container-runtime-endpoint=unix://" + connectionShim, "--container_runtime_endpoint=unix:///run/containerd/containerd.sock"
		unconnected   = "is not connected to the shim, although its configuration names this socket"
		restart       = "systemctl restart kubelet"
	)
	for _, test := range []struct {
		name       string
		arguments  []string
		named      bool // the user named kubelet's file
		text, hint string
	}{
		{"a relative path", []string{"--v=2", "--config", "./config.yaml"}, true, unconnected, restart},
		{"drop-ins only", []string{"--config-dir=/etc/kubernetes/kubelet.conf.d"}, false, unconnected, restart},
		{"flags only", []string{"--kubeconfig=/etc/kubernetes/kubelet.conf", shim}, false, unconnected, restart},
		{"the shim's flag", []string{shim}, true, unconnected, restart},
		{"another flag than that of the files", []string{"--config=config.yaml", runtime}, true, "runs with --container-runtime-endpoint=unix:///run/containerd/containerd.sock", "systemctl cat kubelet"},
		{"another flag only", []string{runtime}, false, "which overrides its configuration", restart},
		{"another file", []string{"--config=other.yaml"}, false, "a file that the doctor did not read: /", "other.yaml to the arguments"},
		{"another file than the one named", []string{"--config=other.yaml"}, true, "", ""},
		{"no kubelet of this node", []string{"calls.yaml", "Version"}, false, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, folder := kubeletNode(t)
			n.Files.KubeletNamed = test.named
			startKubelet(t, folder, test.arguments...)
			level := Fail
			if strings.Contains(test.text, "did not read") {
				level = Warn // that file may name the shim
			}
			wantFinding(t, checkKubeletConnection(t.Context(), n), level, test.text, test.hint)
		})
	}
}

// TestDistributionConnection requires a failure if kubelet of a distribution was not restarted
// after a change of its files. RKE2 and k0s write the file of their kubelet themselves.
func TestDistributionConnection(t *testing.T) {
	n, folder := kubeletNode(t)
	files := filepath.Join(folder, "etc/rancher/rke2")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "config.yaml"), []byte("kubelet-arg: [\"container-runtime-endpoint=unix://"+connectionShim+"\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Files = Files{Kubelet: []string{"none"}, Distributions: clients.FindDistributions(folder)}
	startKubelet(t, folder, "--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d", "--config=/var/lib/rancher/kubelet.yaml")
	wantFinding(t, checkKubeletConnection(t.Context(), n), Fail, "is not connected", "systemctl restart rke2-server")
}

// TestDistributionAdvice requires a remedy that works for the file with the endpoint: install
// edits neither units nor endpoints of another runtime.
func TestDistributionAdvice(t *testing.T) {
	const runtime = "/run/k3s/containerd/containerd.sock"
	for _, test := range []struct{ file, content, hint string }{
		{"etc/rancher/k3s/config.yaml", "kubelet-arg: container-runtime-endpoint=unix://" + runtime, "image-cri-shim install, then systemctl restart k3s"},
		{"etc/rancher/k3s/config.yaml", "kubelet-arg: container-runtime-endpoint=unix:///run/other.sock", "else set the key cri to the other one"},
		{"etc/systemd/system/k0sworker.service", "ExecStart=/usr/local/bin/k0s worker --cri-socket=remote:unix://" + runtime, "change the path of the endpoint to /run/shim.sock in "},
	} {
		root := t.TempDir()
		path := filepath.Join(root, test.file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(test.content+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		n := &node{Options: Options{File: config.DefaultFile, Settings: &config.Config{Shim: connectionShim, Runtime: runtime}, Files: Files{Distributions: clients.FindDistributions(root)}}}
		wantFinding(t, checkDistributions(t.Context(), n), Fail, "not the shim's", test.hint)
	}
}
