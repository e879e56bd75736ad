package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

const (
	shimOnNode = "/opt/image-cri-shim/v1.0.0/image-cri-shim"
	pointer    = "/usr/local/bin/pointer" // the test binary of agent/pointing
	units      = "/etc/systemd/system"
	revertUnit = "image-cri-shim-revert.service"
)

// pointingNode is a machine with a kubelet and a shim, and the agent's code that points kubelet.
type pointingNode struct {
	machine
	healthz int // port
}

func newPointingNode(t *testing.T) pointingNode {
	t.Helper()
	runtime := needContainerd(t)
	if err := testbed.MachineMissing(); err != nil {
		t.Skip("a machine with systemd can't run here:", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = free.Close() }()
	n := pointingNode{healthz: free.Addr().(*net.TCPAddr).Port}
	n.boot(t, runtime)
	return n
}

func (n *pointingNode) boot(t *testing.T, runtime runtime) {
	t.Helper()
	booted, err := testbed.StartMachine(testContext(t), testbed.MachineOptions{
		Folder: t.TempDir(),
		Mounts: map[string]string{"/run/containerd": filepath.Dir(runtime.Socket())},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(booted.Stop)
	n.machine = machine{booted}
}

// install installs the shim, kubelet, and the agent's code.
func (n *pointingNode) install(t *testing.T) {
	t.Helper()
	n.build(t, "../agent", "test", "-c", "-o", n.Path(pointer), "./pointing")
	n.must(t, "mkdir", "-p", filepath.Dir(shimOnNode))
	shim, err := os.ReadFile(shared.shim)
	if err != nil {
		t.Fatal(err)
	}
	service, err := os.ReadFile("../packaging/image-cri-shim.service")
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, shimOnNode, string(shim))
	n.must(t, "chmod", "755", shimOnNode)
	n.write(t, units+"/image-cri-shim.service", strings.ReplaceAll(string(service), "/usr/bin/image-cri-shim", shimOnNode))
	n.configure(t, privateConfiguration()+"cri: /run/containerd/containerd.sock\n")
	n.startKubelet(t)
	n.write(t, kubeletConfig, n.kubeletConfiguration())
	n.write(t, units+"/kubelet.service", "[Service]\nExecStart=/usr/local/bin/kubelet\nRestart=always\nRestartSec=1\n[Install]\nWantedBy=multi-user.target\n")
	n.must(t, "systemctl", "daemon-reload")
	n.must(t, "systemctl", "enable", "--now", "image-cri-shim.service", "kubelet.service")
	n.must(t, "systemctl", "restart", "kubelet")
	n.wantKubelet(t, false)
}

// build runs the command go in a folder of the source. It takes minutes without a build cache.
func (n *pointingNode) build(t *testing.T, folder string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", arguments...)
	build.Dir, build.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

func (n *pointingNode) kubeletConfiguration() string {
	return kubeletsOwnConfig + "healthzPort: " + strconv.Itoa(n.healthz) + "\n"
}

func (n *pointingNode) write(t *testing.T, file, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(n.Path(filepath.Dir(file)), 0o755), os.WriteFile(n.Path(file), []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// run runs the agent's code: point, unpoint or resume, and sends it a signal before a step.
func (n *pointingNode) run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	return n.Run(testContext(t), append([]string{pointer, shimOnNode}, arguments...)...)
}

func (n *pointingNode) mustRun(t *testing.T, arguments ...string) {
	t.Helper()
	if _, err := n.run(t, arguments...); err != nil {
		t.Fatal(err)
	}
}

// files returns the content of the node's configuration files, by path.
func (n *pointingNode) files(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, folder := range []string{"/etc", "/var/lib/kubelet", "/opt"} {
		root := n.Path(folder)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && filepath.Base(path) != "image-cri-shim" {
				content, readErr := os.ReadFile(path)
				files[folder+strings.TrimPrefix(path, root)], err = string(content), readErr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func (n *pointingNode) wantFiles(t *testing.T, before map[string]string) {
	t.Helper()
	after := n.files(t)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s is\n%s\nwant\n%s", path, after[path], content)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s is left", path)
		}
	}
}

// wantKubelet requires that kubelet is well, and that it does or does not use the shim.
func (n *pointingNode) wantKubelet(t *testing.T, pointed bool) {
	t.Helper()
	eventually(t, func() string {
		state := n.must(t, "systemctl", "show", "--value", "--property", "ActiveState", "kubelet")
		content, _ := os.ReadFile(n.Path(kubeletConfig))
		if named := strings.Contains(string(content), "image-cri-shim"); state != "active" || named != pointed {
			return fmt.Sprintf("kubelet is %s, its configuration names the shim: %t, want %t ", state, named, pointed)
		}
		return ""
	})
}

// restarts returns the number of starts of kubelet.
func (n *pointingNode) restarts(t *testing.T) int {
	t.Helper()
	n.must(t, "journalctl", "--sync")
	return strings.Count(n.must(t, "journalctl", "--no-pager", "--output", "cat", "--unit", "kubelet"), "Started kubelet.service")
}

func (n *pointingNode) wantStarts(t *testing.T, before, want int) {
	t.Helper()
	if got := n.restarts(t) - before; got != want {
		t.Errorf("kubelet was started %d times, want %d", got, want)
	}
}

// failAtShim lets kubelet fail with a configuration that names the shim.
func (n *pointingNode) failAtShim(t *testing.T) (restore func()) {
	t.Helper()
	const file = units + "/kubelet.service.d/fail.conf"
	n.write(t, file, "[Service]\nExecStartPre=/bin/sh -c '! grep -q image-cri-shim "+kubeletConfig+"'\n")
	n.must(t, "systemctl", "daemon-reload")
	return func() {
		n.must(t, "rm", "-r", filepath.Dir(file))
		n.must(t, "systemctl", "daemon-reload")
	}
}

// elapse lets the time of the armed switch elapse.
func (n *pointingNode) elapse(t *testing.T) (restore func()) {
	t.Helper()
	const folder = units + "/image-cri-shim-revert.timer.d"
	n.write(t, folder+"/soon.conf", "[Timer]\nOnActiveSec=\nOnActiveSec=1\n")
	n.must(t, "systemctl", "daemon-reload")
	n.must(t, "systemctl", "restart", "image-cri-shim-revert.timer")
	return func() { n.must(t, "rm", "-r", folder) }
}

// awaitSwitch waits until the switch has acted.
func (n *pointingNode) awaitSwitch(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		state, _ := n.Run(testContext(t), "systemctl", "is-enabled", revertUnit)
		active := n.must(t, "systemctl", "show", "--value", "--property", "ActiveState", revertUnit)
		if state == "disabled" && active == "inactive" {
			return ""
		}
		return "the switch is " + state + " and " + active
	})
}

func (n *pointingNode) checkLog(t *testing.T) {
	t.Helper()
	log := n.must(t, "journalctl", "--no-pager", "--unit", "image-cri-shim*", "--unit", "kubelet.service")
	wantNoSecret(t, "the journal", []byte(log))
	if t.Failed() {
		t.Logf("the journal:\n%s", log[max(0, len(log)-8192):])
	}
}

// restart replaces the machine by one with the same files, like after a power failure. Its
// multi-user.target is not started yet.
func (n *pointingNode) restart(t *testing.T) {
	t.Helper()
	kept := filepath.Join(t.TempDir(), "kept.tar")
	folders := []string{"etc", "var/lib/kubelet", "var/lib/image-cri-shim-agent", "opt", "usr/local/bin"}
	if output, err := exec.CommandContext(testContext(t), "tar", append([]string{"-C", n.Path("/"), "-cf", kept}, folders...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	n.Stop()
	n.boot(t, shared.containerd)
	n.must(t, "mount", "--make-rshared", "/") // services see later changes of mounts
	if output, err := exec.CommandContext(testContext(t), "tar", "-C", n.Path("/"), "-xf", kept).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	n.must(t, "systemctl", "daemon-reload")
}
