package clients_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"image-cri-shim/clients"
)

const (
	k3sRuntime = "/run/k3s/containerd/containerd.sock"
	k0sRuntime = "/run/k0s/containerd.sock"
	snapCommon = "/var/snap/microk8s/common"
)

// k3sUnit is a unit as the install script of k3s writes it.
const k3sUnit = "[Service]\nKillMode=process\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--disable' \\\n\t'traefik' \\\n"

// microK8sArguments are kubelet's default arguments in MicroK8s.
const microK8sArguments = "--root-dir=${SNAP_COMMON}/var/lib/kubelet\n--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n--eviction-hard=\"memory.available<100Mi\"\n"

// distributionNode writes files below a folder, and returns a node with the distributions in
// it, without kubelet's own files.
func distributionNode(t *testing.T, runtime string, files map[string]string) (folder string, node *clients.Node) {
	t.Helper()
	folder = t.TempDir()
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, folder, path, content)
	}
	node = newNode(folder)
	node.Runtime = runtime
	node.Distributions = clients.FindDistributions(folder)
	return folder, node
}

// TestDistributionsAreEdited installs on nodes of each distribution whose files set the
// endpoint, and uninstalls. In the end, the files have their original content.
func TestDistributionsAreEdited(t *testing.T) {
	const endpoint = "unix://" + shim
	for _, test := range []struct {
		name, runtime, file, before, after, unit string
		others                                   map[string]string
	}{
		{name: "k3s with its own key", runtime: containerd, file: "etc/rancher/k3s/config.yaml", unit: "k3s",
			before: "token: secret\ncontainer-runtime-endpoint: " + containerd + " # ours\n", after: "token: secret\ncontainer-runtime-endpoint: " + endpoint + " # ours\n"},
		{name: "k3s with an argument in a drop-in", runtime: k3sRuntime, file: "etc/rancher/k3s/config.yaml.d/10-kubelet.yaml", unit: "k3s-agent",
			others: map[string]string{"etc/rancher/k3s/config.yaml": "node-label:\n  - a=b\n", "etc/systemd/system/k3s-agent.service": k3sUnit},
			before: "kubelet-arg+:\n  - max-pods=50\n  - \"container-runtime-endpoint=unix://" + k3sRuntime + "\"\n  - 'image-service-endpoint=" + k3sRuntime + "'\n",
			after:  "kubelet-arg+:\n  - max-pods=50\n  - \"container-runtime-endpoint=" + endpoint + "\"\n  - 'image-service-endpoint=" + endpoint + "'\n"},
		{name: "RKE2 with one argument", runtime: k3sRuntime, file: "etc/rancher/rke2/config.yaml", unit: "rke2-server",
			others: map[string]string{"usr/lib/systemd/system/rke2-server.service": "[Service]\nExecStart=/usr/bin/rke2 server\n"},
			before: "kubelet-arg: container-runtime-endpoint=unix://" + k3sRuntime + "\n", after: "kubelet-arg: container-runtime-endpoint=" + endpoint + "\n"},
		{name: "MicroK8s", runtime: snapCommon + "/run/containerd.sock", file: "var/snap/microk8s/current/args/kubelet", unit: "snap.microk8s.daemon-kubelite",
			before: microK8sArguments, after: strings.Replace(microK8sArguments, "${SNAP_COMMON}/run/containerd.sock", endpoint, 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{test.file: test.before}
			for path, content := range test.others {
				files[path] = content
			}
			folder, node := distributionNode(t, test.runtime, files)
			if unit := node.KubeletUnit(); unit != test.unit {
				t.Errorf("kubelet's unit is %s, want %s", unit, test.unit)
			}
			for range 2 {
				apply(t, node.Install)
				if got := read(t, folder, test.file); got != test.after {
					t.Errorf("%s is\n%s, want\n%s", test.file, got, test.after)
				}
			}
			places, err := node.ShimEndpoints()
			if err != nil || len(places) == 0 || !strings.Contains(places[0], test.file) {
				t.Errorf("the shim's endpoints are %q, %v", places, err)
			}
			runtime, _, err := node.Distributions[0].Endpoints()
			if err != nil || runtime.Value != endpoint || runtime.File != filepath.Join(folder, test.file) {
				t.Errorf("kubelet's endpoint is %+v, %v", runtime, err)
			}
			apply(t, node.Uninstall)
			if got := read(t, folder, test.file); got != test.before {
				t.Errorf("%s is in the end\n%s, want\n%s", test.file, got, test.before)
			}
			if places, err := node.ShimEndpoints(); err != nil || len(places) != 0 {
				t.Errorf("in the end, the shim's endpoints are %q, %v", places, err)
			}
		})
	}
}

// TestDistributionsByHand requires that install changes no file where only a unit or a new
// file can set the endpoint, and that its error contains the change.
func TestDistributionsByHand(t *testing.T) {
	const k3sFile, worker, controller = "etc/rancher/k3s/config.yaml", "etc/systemd/system/k0sworker.service", "etc/systemd/system/k0scontroller.service"
	for _, test := range []struct {
		name, runtime string
		files         map[string]string
		wants         []string
	}{
		{"k3s with arguments of kubelet in its unit", k3sRuntime, map[string]string{"etc/systemd/system/k3s.service": k3sUnit + "\t'--kubelet-arg=max-pods=50'\n"},
			[]string{"k3s: no file sets kubelet's endpoint", `create /etc/rancher/k3s/config.yaml.d/99-image-cri-shim.yaml with the line ` + "`" + `kubelet-arg+: ["container-runtime-endpoint=unix:///run/image-cri-shim.sock"]`, "systemctl restart k3s"}},
		{"k3s without cri", containerd, map[string]string{k3sFile: "token: x\n"},
			[]string{"kubelet uses k3s's own runtime unix://" + k3sRuntime + " instead of the shim's runtime unix://" + containerd + ": set `cri` to it first"}},
		{"k3s with Docker", k3sRuntime, map[string]string{k3sFile: "docker: true\n"}, []string{"k3s's own runtime unix:///run/k3s/cri-dockerd/cri-dockerd.sock"}},
		{"k3s with another runtime", k3sRuntime, map[string]string{k3sFile: "container-runtime-endpoint: /run/other.sock\n"},
			[]string{"config.yaml: line 1: container-runtime-endpoint: found /run/other.sock, expected the shim's own runtime"}},
		{"k3s with arguments in its unit", containerd, map[string]string{"etc/systemd/system/k3s.service": k3sUnit + "\t'--container-runtime-endpoint' \\\n\t'unix://" + containerd + "' \\\n"},
			[]string{"k3s.service: line 7: container-runtime-endpoint: is in a systemd unit, which is not edited: change unix://" + containerd + " to unix://" + shim + " there, then run systemctl daemon-reload and systemctl restart k3s"}},
		{"k3s with an argument of kubelet in a unit", containerd, map[string]string{"etc/systemd/system/k3s.service.d/a.conf": "", "etc/systemd/system/k3s.service": k3sUnit + "\t'--kubelet-arg=container-runtime-endpoint=unix://" + containerd + "'\n"},
			[]string{"k3s.service: line 7: container-runtime-endpoint: is in a systemd unit"}},
		{"RKE2 with an alias", containerd, map[string]string{"etc/rancher/rke2/config.yaml": "a: &a x\nkubelet-arg:\n- *a\n"}, []string{"line 3: kubelet-arg: expected literal arguments"}},
		{"RKE2 with an escape", containerd, map[string]string{"etc/rancher/rke2/config.yaml": "kubelet-arg: \"container-runtime-endpoint=\\x2frun\"\n"}, []string{"line 1: kubelet-arg container-runtime-endpoint: expected a literal endpoint"}},
		{"k0s with its own containerd", k0sRuntime, map[string]string{worker: "[Service]\nExecStart=/usr/local/bin/k0s worker --token-file=/etc/k0stoken\n"},
			[]string{"add the argument --kubelet-extra-args=--container-runtime-endpoint=unix://" + shim + " to ExecStart in ", "k0sworker.service, run systemctl daemon-reload, then run systemctl restart k0sworker"}},
		{"k0s with another runtime", containerd, map[string]string{worker: "[Service]\nExecStart=/usr/local/bin/k0s worker \"--cri-socket=remote:unix://" + containerd + "\"\n"},
			[]string{"line 2: cri-socket: is in a systemd unit", "change remote:unix://" + containerd + " to remote:unix://" + shim}},
		{"a k0s controller that is a worker", k0sRuntime, map[string]string{controller: "[Service]\nExecStart=/usr/local/bin/k0s controller --single\n"}, []string{"systemctl restart k0scontroller"}},
		{"MicroK8s without the flag", snapCommon + "/run/containerd.sock", map[string]string{"var/snap/microk8s/current/args/kubelet": "--v=2\n"},
			[]string{"add the line --container-runtime-endpoint=unix://" + shim + " to /var/snap/microk8s/current/args/kubelet"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, node := distributionNode(t, test.runtime, test.files)
			_, err := node.Install()
			for _, want := range test.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %v, want %q", err, want)
				}
			}
		})
	}
}

// TestDistributionsSetByHand requires that install and uninstall --check see an endpoint of
// the shim that only a unit can have.
func TestDistributionsSetByHand(t *testing.T) {
	const worker = "etc/systemd/system/k0sworker.service"
	for value, place := range map[string]string{
		"--cri-socket=remote:unix://" + shim:                               "line 2: cri-socket",
		"'--kubelet-extra-args=--container-runtime-endpoint=" + shim + "'": "line 2: container-runtime-endpoint",
	} {
		folder, node := distributionNode(t, k0sRuntime, map[string]string{worker: "[Service]\nExecStart=/usr/local/bin/k0s worker " + value + "\n"})
		if edits := apply(t, node.Install); edits != 0 {
			t.Errorf("%s: install edits %d files", value, edits)
		}
		if places, err := node.ShimEndpoints(); err != nil || len(places) != 1 || places[0] != filepath.Join(folder, worker)+": "+place {
			t.Errorf("%s: the shim's endpoints are %q, %v", value, places, err)
		}
		if _, err := node.Uninstall(); err == nil || !strings.Contains(err.Error(), "points at the shim, and is in a systemd unit, which is not edited: change the line to `ExecStart=/usr/local/bin/k0s worker ") || !strings.Contains(err.Error(), "unix://"+k0sRuntime) {
			t.Errorf("%s: uninstall: %v", value, err)
		}
	}
}

// TestFindDistributions requires that folders without kubelet are not taken for a node of a
// distribution.
func TestFindDistributions(t *testing.T) {
	_, node := distributionNode(t, containerd, map[string]string{
		"etc/rancher/k3s/k3s.yaml":                  "kind: Config\n",
		"etc/systemd/system/k0scontroller.service":  "[Service]\nExecStart=/usr/local/bin/k0s controller\n",
		"var/snap/microk8s/current/args/containerd": "",
	})
	if len(node.Distributions) != 0 || node.KubeletUnit() != "kubelet" {
		t.Errorf("found %v, unit %s", node.Distributions, node.KubeletUnit())
	}
}

// TestRevert requires that a revert restores the files and backups from before a change, and
// leaves files that were edited since.
func TestRevert(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	files := map[string]string{kubelet: "containerRuntimeEndpoint: " + containerd + "\n", crictl: "timeout: 2\n", kubelet + ".image-cri-shim.bak": "old\n"}
	for name, content := range files {
		write(t, folder, name, content)
	}
	changes, err := node.Install()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.ApplyAll(changes); err != nil {
		t.Fatal(err)
	}
	if read(t, folder, kubelet) == files[kubelet] {
		t.Fatal("nothing was changed")
	}
	if err := clients.RevertAll(changes); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if got := read(t, folder, name); got != content {
			t.Errorf("%s is %q, want %q", name, got, content)
		}
	}
	if _, err := os.Stat(node.Crictl + ".image-cri-shim.bak"); !os.IsNotExist(err) {
		t.Errorf("the backup is left: %v", err)
	}

	if err := clients.ApplyAll(changes); err != nil {
		t.Fatal(err)
	}
	write(t, folder, crictl, "edited: true\n")
	if err := clients.RevertAll(changes); err == nil || !strings.Contains(err.Error(), "crictl.yaml: the file was edited meanwhile") {
		t.Errorf("the error is %v", err)
	}
	if got := read(t, folder, crictl); got != "edited: true\n" {
		t.Errorf("crictl.yaml is %q", got)
	}
}

// TestApplyAllRestores requires that no file stays changed if one can't be written.
func TestApplyAllRestores(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	const before = "containerRuntimeEndpoint: " + containerd + "\n"
	write(t, folder, kubelet, before)
	write(t, folder, crictl, "timeout: 2\n")
	changes, err := node.Install()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(node.Crictl+".image-cri-shim.bak", 0o700); err != nil { // in the way of the backup
		t.Fatal(err)
	}
	if err := clients.ApplyAll(changes); err == nil {
		t.Fatal("no error")
	}
	if got := read(t, folder, kubelet); got != before {
		t.Errorf("config.yaml is %q", got)
	}
}

// TestApplyAllOnReadOnlyFileSystem requires one cause, and no failure to restore what was not
// changed.
func TestApplyAllOnReadOnlyFileSystem(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, ""); err != nil {
		t.Skip("this user can't mount: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, 0) })
	node := newNode(folder)
	for name, content := range map[string]string{kubelet: "containerRuntimeEndpoint: " + containerd + "\n", kubelet + ".image-cri-shim.bak": "a: 1\n", crictl: "timeout: 2\n"} {
		write(t, folder, name, content)
	}
	changes, err := node.Install()
	if err := errors.Join(err, syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]clients.Change{changes, changes[len(changes)-1:]} { // with and without a backup of the first
		err := clients.ApplyAll(part)
		if err == nil || !strings.HasPrefix(err.Error(), "the files were restored: write the backup: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v", err)
		}
	}
}
