package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packageManager installs packages into a folder as the root of a machine.
type packageManager struct {
	root string
	// the commands, without the package's name
	install, upgrade, remove, purge []string
	pattern                         string // of the package's file name
}

func packageManagers(t *testing.T) map[string]*packageManager {
	dpkg, rpm := t.TempDir(), t.TempDir()
	run := []string{"dpkg", "--root=" + dpkg, "--log=" + filepath.Join(dpkg, "log"), "--force-confold"}
	return map[string]*packageManager{
		"dpkg": {
			root: dpkg, pattern: "*.deb",
			install: append(run[:4:4], "--install"),
			upgrade: append(run[:4:4], "--install"),
			remove:  append(run[:4:4], "--remove"),
			purge:   append(run[:4:4], "--purge"),
		},
		"rpm": {
			root: rpm, pattern: "*.rpm",
			install: []string{"rpm", "--root=" + rpm, "--nodeps", "--install"},
			upgrade: []string{"rpm", "--root=" + rpm, "--nodeps", "--upgrade"},
			remove:  []string{"rpm", "--root=" + rpm, "--erase"},
		},
	}
}

// prepare creates the programs that the packages' scripts need in the root: a shell, and a
// systemctl that records its arguments.
func (m *packageManager) prepare(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("installing into another root requires root")
	}
	if _, err := exec.LookPath(m.install[0]); err != nil {
		t.Skip(m.install[0], "is not installed")
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("Debian's busybox-static is not installed")
	}
	for _, command := range []string{"bin/sh", "bin/rm"} {
		m.write(t, command, string(busybox))
	}
	m.write(t, "bin/systemctl", `#!/bin/sh
echo "$*" >>/systemctl.log
case "$*" in *is-active*) [ -e /active ] ;; esac
`)
	m.write(t, "var/lib/dpkg/status", "")
	m.write(t, "var/lib/dpkg/updates/none", "")
	m.delete(t, "var/lib/dpkg/updates/none")
	m.write(t, "var/lib/dpkg/info/format", "1\n")
}

func (m *packageManager) path(file string) string { return filepath.Join(m.root, file) }

func (m *packageManager) write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.path(file), []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (m *packageManager) delete(t *testing.T, file string) {
	t.Helper()
	if err := os.RemoveAll(m.path(file)); err != nil {
		t.Fatal(err)
	}
}

func (m *packageManager) has(file string) bool {
	_, err := os.Stat(m.path(file))
	return err == nil
}

// do runs one of the commands and returns its output and the recorded calls of systemctl.
func (m *packageManager) do(ctx context.Context, t *testing.T, command []string, name string) (output, asked string, err error) {
	t.Helper()
	m.delete(t, "systemctl.log")
	run := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], name)...)
	run.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	said, err := run.CombinedOutput()
	log, _ := os.ReadFile(m.path("systemctl.log"))
	return string(said), string(log), err
}

func (m *packageManager) must(t *testing.T, command []string, name string) (output, asked string) {
	t.Helper()
	output, asked, err := m.do(testContext(t), t, command, name)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", command, name, err, output)
	}
	return output, asked
}

// TestPackageOnAMachine installs, upgrades and removes the packages with dpkg and rpm.
func TestPackageOnAMachine(t *testing.T) {
	for name, manager := range packageManagers(t) {
		t.Run(name, func(t *testing.T) {
			manager.prepare(t)
			first, second := needPackages(t)
			old, current := onlyFile(t, first, manager.pattern), onlyFile(t, second, manager.pattern)
			const configuration = "etc/image-cri-shim.yaml"

			if _, asked := manager.must(t, manager.install, old); asked != "" {
				t.Errorf("without systemd: systemctl was called with %q", asked)
			}
			if info, err := os.Stat(manager.path(configuration)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("configuration: %v, %v; want mode 0600", info, err)
			}
			units, _ := filepath.Glob("../packaging/image-cri-shim.s*")
			for _, unit := range units {
				if !manager.has("usr/lib/systemd/system/" + filepath.Base(unit)) {
					t.Errorf("%s is not installed", unit)
				}
			}

			for _, shared := range []string{
				"prometheus/image-cri-shim.rules.yaml", "grafana/image-cri-shim.json",
				"prometheus/image-cri-shim-fleet.rules.yaml", "grafana/image-cri-shim-fleet.json",
			} {
				if !manager.has("usr/share/image-cri-shim/" + shared) {
					t.Errorf("%s is not installed", shared)
				}
			}
			wantDocuments(t, manager.path("usr/share/doc/image-cri-shim"))
			wantShellFiles(t, manager.path("usr/share"), map[string]string{"dpkg": "vendor-completions", "rpm": "site-functions"}[name])
			if example := "usr/share/doc/image-cri-shim/packaging/image-cri-shim.yaml"; !manager.has(example) {
				t.Errorf("%s, which a hint names, is not installed", example)
			}
			if name == "rpm" {
				flags, err := exec.CommandContext(testContext(t), "rpm", "-qp", "--qf", "[%{FILEFLAGS:fflags} %{FILENAMES}\n]", old).Output()
				if err != nil || !strings.Contains(string(flags), "cn /"+configuration+"\n") {
					t.Errorf("the package does not mark the configuration as a file to keep: %v\n%s", err, flags)
				}
			}

			manager.write(t, "run/systemd/system/is-running", "")
			manager.write(t, configuration, "force: true\n")
			t.Run("upgrade", func(t *testing.T) { manager.upgrades(t, old, current, configuration) })
			t.Run("remove", func(t *testing.T) { manager.removes(t, configuration) })
		})
	}
}

// upgrades upgrades to the current version with the service stopped, with the service
// running, and with an invalid configuration.
func (m *packageManager) upgrades(t *testing.T, old, current, configuration string) {
	if _, asked := m.must(t, m.upgrade, current); strings.Contains(asked, "restart") || !strings.Contains(asked, "daemon-reload") {
		t.Errorf("with the service stopped: systemctl was called with %q", asked)
	}
	if content, _ := os.ReadFile(m.path(configuration)); string(content) != "force: true\n" {
		t.Errorf("the configuration has changed to %q", content)
	}
	again := append(m.upgrade[:len(m.upgrade):len(m.upgrade)], "--force")
	if m.pattern == "*.deb" {
		again = m.upgrade
	}
	m.write(t, "active", "")
	if _, asked := m.must(t, again, current); !strings.Contains(asked, "\ntry-restart image-cri-shim.service\n") {
		t.Errorf("with the service running: systemctl was called with %q", asked)
	}
	m.write(t, configuration, "adress: http://sealos.hub:5000\n")
	output, asked := m.must(t, again, current)
	if strings.Contains(asked, "restart") || !strings.Contains(output, "/etc/image-cri-shim.yaml:1: adress: ") {
		t.Errorf("with an invalid configuration: systemctl was called with %q, output\n%s", asked, output)
	}
}

// removes requires that the removal fails while a client is configured to use the shim.
func (m *packageManager) removes(t *testing.T, configuration string) {
	const kubelet = "var/lib/kubelet/config.yaml"
	m.write(t, kubelet+".image-cri-shim.bak", "")
	for _, pointed := range []struct{ file, content, want string }{
		{kubelet, "containerRuntimeEndpoint: unix:///var/run/image-cri-shim.sock\n", "/var/lib/kubelet/config.yaml: line 1: containerRuntimeEndpoint points at the shim"},
		{"etc/crictl.yaml", "runtime-endpoint: /run/image-cri-shim.sock\n", "/etc/crictl.yaml: line 1: runtime-endpoint points at the shim"},
		{"etc/systemd/system/kubelet.service.d/10.conf", "Environment=\"A=--container-runtime-endpoint=/run/image-cri-shim.sock\"\n", "10.conf: line 1: container-runtime-endpoint points at the shim"},
	} {
		m.write(t, pointed.file, pointed.content)
		output, asked, err := m.do(testContext(t), t, m.remove, "image-cri-shim")
		if err == nil || strings.Contains(asked, "disable") || !m.has("usr/bin/image-cri-shim") || !strings.Contains(output, pointed.want) || !strings.Contains(output, "run image-cri-shim uninstall") {
			t.Errorf("with %s pointing at the shim: %v, systemctl was called with %q\n%s", pointed.file, err, asked, output)
		}
		m.delete(t, pointed.file)
	}
	m.write(t, kubelet, "# containerRuntimeEndpoint: unix:///var/run/image-cri-shim.sock\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n")
	m.write(t, "var/lib/image-cri-shim/ledger.json", "{}")
	if _, asked := m.must(t, m.remove, "image-cri-shim"); !strings.Contains(asked, "disable --now image-cri-shim.service\n") || !strings.HasSuffix(asked, "daemon-reload\n") {
		t.Errorf("systemctl was called with %q", asked)
	}
	if m.has("usr/bin/image-cri-shim") || m.has("usr/lib/systemd/system/image-cri-shim.service") {
		t.Error("the binary or the unit still exists")
	}
	if !m.has("var/lib/image-cri-shim/ledger.json") {
		t.Error("the state was deleted")
	}
	if m.purge == nil {
		if !m.has(configuration + ".rpmsave") {
			t.Error("the edited configuration was deleted")
		}
		return
	}
	if !m.has(configuration) {
		t.Error("the edited configuration was deleted")
	}
	m.must(t, m.purge, "image-cri-shim")
	if m.has(configuration) || m.has("var/lib/image-cri-shim") {
		t.Error("after the purge, the configuration or the state still exists")
	}
}

// TestPackageKeepsAFile installs the packages on a machine with a configuration file of its
// own, such as that of sealos, which must stay.
func TestPackageKeepsAFile(t *testing.T) {
	for name, manager := range packageManagers(t) {
		t.Run(name, func(t *testing.T) {
			manager.prepare(t)
			const configuration, own = "etc/image-cri-shim.yaml", "shim: /var/run/image-cri-shim.sock\naddress: http://sealos.hub:5000\n"
			manager.write(t, configuration, own)
			_, current := needPackages(t)
			manager.must(t, manager.install, onlyFile(t, current, manager.pattern))
			if got := readFile(t, manager.path(configuration)); got != own {
				t.Errorf("the file is now\n%s", got)
			}
		})
	}
}
