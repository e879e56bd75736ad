package clients_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

// TestRancherFileIsCreated requires that install adds the endpoint of a k3s or RKE2 with its own
// runtime in a file of its own, moves it to another socket of the shim, and that uninstall and a
// revert leave the node's files and folders as they were.
func TestRancherFileIsCreated(t *testing.T) {
	for _, test := range []struct {
		name, folder, unit string
		files              map[string]string
	}{
		{"k3s server with a unit only", "etc/rancher/k3s", "k3s", map[string]string{"etc/systemd/system/k3s.service": k3sUnit, "etc/rancher/k3s/k3s.yaml": "kind: Config\n"}},
		{"k3s agent", "etc/rancher/k3s", "k3s-agent", map[string]string{"etc/systemd/system/k3s-agent.service": k3sUnit, "etc/rancher/k3s/config.yaml": "kubelet-arg: [max-pods=50]\n", "etc/rancher/k3s/config.yaml.d/a.yml": "token: secret\n"}},
		{"RKE2 server", "etc/rancher/rke2", "rke2-server", map[string]string{"usr/local/lib/systemd/system/rke2-server.service": "[Service]\nExecStart=/usr/local/bin/rke2 server\n", "etc/rancher/rke2/config.yaml": "token: secret\n"}},
		{"RKE2 agent", "etc/rancher/rke2", "rke2-agent", map[string]string{"usr/lib/systemd/system/rke2-agent.service": "[Service]\nExecStart=/usr/bin/rke2 agent\n", "etc/rancher/rke2/config.yaml": "token: secret\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder, node := distributionNode(t, k3sRuntime, test.files)
			find := func() {
				t.Helper()
				node.Distributions = clients.FindDistributions(folder)
				if got := node.KubeletUnit(); got != test.unit {
					t.Errorf("kubelet's unit is %s", got)
				}
			}
			before := tree(t, folder)
			path := test.folder + "/config.yaml.d/99-image-cri-shim.yaml"
			content := func(socket string) string {
				return "kubelet-arg+: [\"container-runtime-endpoint=unix://" + socket + "\"]\n"
			}
			changes, err := node.Install()
			if err == nil {
				err = clients.ApplyAll(changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := clients.RevertAll(changes); err != nil {
				t.Error(err)
			}
			if after := tree(t, folder); after != before {
				t.Errorf("a revert leaves\n%s\nwant\n%s", after, before)
			}
			for range 2 {
				find()
				apply(t, node.Install)
				if got := read(t, folder, path); got != content(shim) {
					t.Errorf("the file is %q", got)
				}
			}
			if places, err := node.ShimEndpoints(); err != nil || len(places) != 1 || !strings.Contains(places[0], path) {
				t.Errorf("the shim's endpoints are %q, %v", places, err)
			}
			node.Shim, node.FormerShims = "/run/other.sock", []string{shim}
			find()
			apply(t, node.Install)
			if got := read(t, folder, path); got != content("/run/other.sock") {
				t.Errorf("after a change of the socket, the file is %q", got)
			}
			apply(t, node.Uninstall)
			if after := tree(t, folder); after != before {
				t.Errorf("uninstall leaves\n%s\nwant\n%s", after, before)
			}

			find()
			apply(t, node.Install)
			write(t, folder, path, "kubelet-arg+: [\"container-runtime-endpoint=unix:///run/other.sock\", v=2]\n")
			find()
			apply(t, node.Uninstall)
			if got, want := read(t, folder, path), "kubelet-arg+: [\"container-runtime-endpoint=unix://"+k3sRuntime+"\", v=2]\n"; got != want {
				t.Errorf("after an edit by hand, the file is %q, want %q", got, want)
			}
		})
	}
}

// TestRancherFiles requires that those files are read that k3s reads, and that the file that Install
// creates is among them, or is not created.
func TestRancherFiles(t *testing.T) {
	const created, unit = "99-image-cri-shim.yaml", "etc/systemd/system/k3s.service"
	const folder = "etc/rancher/k3s/config.yaml.d/"
	execute := func(arguments string) string {
		return "[Service]\nExecStartPre=/bin/sh -c '/bin/true'\nExecStart=/usr/local/bin/k3s \\\n    server \\\n" + arguments + "\n"
	}
	for name, test := range map[string]struct {
		files   map[string]string
		created string // empty: none
	}{
		"upper case":                 {map[string]string{folder + "10-a.YAML": "kubelet-arg: [v=2]\n"}, folder + created},
		"overrides, upper case":      {map[string]string{folder + "99-z.Yml": "kubelet-arg: [v=2]\n"}, ""},
		"folder":                     {map[string]string{folder + "10-a.yaml/b": "kubelet-arg: [v=2]\n"}, folder + created},
		"another suffix":             {map[string]string{folder + "99-z.yaml.bak": "kubelet-arg: [v=2]\n"}, folder + created},
		"comment about docker":       {map[string]string{"etc/rancher/k3s/config.yaml": "# docker: true\nnot-docker: true\n", unit: execute("'--docker=false' \\\n--docker-x") + "# --docker\n"}, folder + created},
		"docker":                     {map[string]string{"etc/rancher/k3s/config.yaml": "docker:   yes\n"}, ""},
		"docker in a drop-in":        {map[string]string{"etc/rancher/k3s/config.yaml": "docker: false\n", folder + "a.yaml": "\"docker\": \"true\"\n"}, ""},
		"docker in the unit":         {map[string]string{unit: execute("'--docker' \\\n")}, ""},
		"another file":               {map[string]string{unit: execute("'--config' \\\n\t'/etc/k3s.yaml'")}, "etc/k3s.yaml.d/" + created},
		"another file, short":        {map[string]string{unit: execute("-c=/etc/k3s.yaml")}, "etc/k3s.yaml.d/" + created},
		"another file in a drop-in":  {map[string]string{unit: k3sUnit, unit + ".d/a.conf": "[Service]\nEnvironment=\"K3S_CONFIG_FILE=/etc/k3s.yaml\"\n"}, "etc/k3s.yaml.d/" + created},
		"another file in a variable": {map[string]string{unit: execute("--config=/etc/other.yaml"), unit + ".env": "K3S_TOKEN=a\nK3S_CONFIG_FILE='/etc/k3s.yaml'\n", "etc/k3s.yaml": "a: b\n"}, "etc/k3s.yaml.d/" + created},
		"another file that is set":   {map[string]string{"etc/default/k3s": "K3S_CONFIG_FILE=/etc/k3s.yaml\n", "etc/k3s.yaml.d/99-z.yaml": "kubelet-arg: [v=2]\n"}, ""},
		"shell":                      {map[string]string{unit: "[Service]\nExecStart=/bin/sh -c 'exec k3s server'\n"}, folder + created},
		"URL":                        {map[string]string{unit: execute("--config https://example.com/k3s.yaml")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.files["etc/rancher/k3s/k3s.yaml"] = "kind: Config\n"
			if test.files[unit] == "" {
				test.files[unit] = k3sUnit
			}
			folder, node := distributionNode(t, k3sRuntime, test.files)
			changes, err := node.Install()
			if test.created == "" {
				if err == nil {
					t.Error("install has no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range changes {
				if want := c.Path == filepath.Join(folder, test.created); c.Created() != want {
					t.Errorf("%s: created: %t, want %t", c.Path, c.Created(), want)
				}
			}
			before := tree(t, folder)
			apply(t, node.Install)
			node.Distributions = clients.FindDistributions(folder)
			runtime, _, err := node.Distributions[0].Endpoints()
			if err != nil || runtime.File != filepath.Join(folder, test.created) {
				t.Errorf("the endpoint is set by %q, %v", runtime.File, err)
			}
			apply(t, node.Uninstall)
			if after := tree(t, folder); after != before {
				t.Errorf("uninstall leaves\n%s\nwant\n%s", after, before)
			}
		})
	}
}

// tree lists the folders and files below a folder, with their content.
func tree(t *testing.T, folder string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		content, readErr := os.ReadFile(path)
		if entry.IsDir() {
			readErr = nil
		}
		list.WriteString(path + "\n" + string(content))
		return errors.Join(err, readErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}
