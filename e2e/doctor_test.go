package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestDoctor introduces one fault after the other on a node with a real containerd. Each
// fault changes its own line of the report from OK, and no other.
func TestDoctor(t *testing.T) {
	fixture := newDoctorFixture(t, shared.private.Host()+"/pause:3.9")
	fixture.pullSandbox(t)
	fixture.run(t, []doctorCase{
		{name: "healthy"},
		{
			name:  "configuration readable by all users",
			fault: func(t *testing.T, n *doctorNode) { chmod(t, n.file("image-cri-shim.yaml"), 0o644) },
			check: "configuration", subject: nodeFile("image-cri-shim.yaml"), level: "WARN", text: "open to all users (mode 0644)", hint: "chmod o= ",
		},
		{
			name: "invalid configuration",
			fault: func(t *testing.T, n *doctorNode) {
				writeFile(t, n.file("image-cri-shim.yaml"), "auth: \":canary\"\nadress: x\n")
			},
			check: "configuration", subject: nodeFile("image-cri-shim.yaml"), level: "FAIL", text: "auth: found an empty user name", hint: "correct the file", lines: 2,
		},
		{
			name: "runtime down",
			fault: func(t *testing.T, n *doctorNode) {
				n.containerd.Stop()
				t.Cleanup(func() {
					if err := n.containerd.Start(testContext(t)); err != nil {
						t.Fatal(err)
					}
				})
			},
			check: "runtime", subject: func(n *doctorNode) string { return n.containerd.Socket() }, level: "FAIL", hint: "start the runtime",
		},
		{
			name:  "stale shim socket",
			fault: func(_ *testing.T, n *doctorNode) { n.shim.Kill() },
			check: "shim", subject: nodeFile("shim.sock"), level: "FAIL", text: "stale", hint: "systemctl start image-cri-shim",
		},
		{
			name: "shim stopped",
			fault: func(t *testing.T, n *doctorNode) {
				if err := n.shim.Stop(); err != nil {
					t.Fatal(err)
				}
			},
			check: "shim", subject: nodeFile("shim.sock"), level: "FAIL", text: "does not exist", hint: "systemctl start image-cri-shim",
		},
		{
			name: "shim socket open to all",
			fault: func(t *testing.T, n *doctorNode) {
				awaitMode(t, n.file("shim.sock"), n.containerd.Socket())
				chmod(t, n.file("shim.sock"), 0o666)
			},
			check: "shim", subject: nodeFile("shim.sock"), level: "WARN", text: "open to more users (mode 0666)", hint: "chmod 0660 ",
		},
		{
			name: "configuration changed but not reloaded",
			fault: func(t *testing.T, n *doctorNode) {
				later := time.Now().Add(time.Second)
				if err := os.Chtimes(n.file("image-cri-shim.yaml"), later, later); err != nil {
					t.Fatal(err)
				}
			},
			check: "running shim", subject: nodeFile("state/admin.sock"), level: "WARN", text: "has changed", hint: "run the doctor again",
		},
		{
			name: "kubelet uses containerd",
			fault: func(t *testing.T, n *doctorNode) {
				writeFile(t, n.file("kubelet.yaml"), "containerRuntimeEndpoint: unix://"+n.containerd.Socket()+"\n")
			},
			check: "kubelet", subject: nodeFile("kubelet.yaml"), level: "FAIL", text: "containerd.sock\", not the shim's", hint: "image-cri-shim install --file ",
		},
		{
			name: "kubelet's flag names containerd",
			fault: func(t *testing.T, n *doctorNode) {
				writeFile(t, n.file("kubelet.env"), `KUBELET_KUBEADM_ARGS="--v=2 --container-runtime-endpoint=unix://`+n.containerd.Socket()+`"`)
			},
			check: "kubelet", subject: nodeFile("kubelet.env"), level: "FAIL", text: "containerd.sock\", not the shim's", hint: "image-cri-shim install --file ",
		},
		{
			name: "crictl uses containerd",
			fault: func(t *testing.T, n *doctorNode) {
				writeFile(t, n.file("crictl.yaml"), "runtime-endpoint: unix://"+n.containerd.Socket()+"\n")
			},
			check: "crictl", subject: nodeFile("crictl.yaml"), level: "WARN", text: "containerd.sock\", not the shim's", hint: "image-cri-shim install --file ",
		},
		{
			name: "kubeadm uses containerd",
			fault: func(t *testing.T, n *doctorNode) {
				writeFile(t, n.file("kubeadm.yaml"), "kind: JoinConfiguration\nnodeRegistration:\n  criSocket: "+n.containerd.Socket()+"\n")
			},
			check: "kubeadm", subject: nodeFile("kubeadm.yaml"), level: "WARN", text: "containerd.sock\", not the shim's", hint: "set criSocket",
		},
		{
			name: "sandbox image missing",
			fault: func(t *testing.T, n *doctorNode) {
				direct := dial(t, n.containerd.Socket())
				if err := direct.Images.RemoveImage(testContext(t), &runtimeapi.ImageSpec{Image: n.sandbox}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { n.pullSandbox(t) })
			},
			check: "sandbox image", subject: func(n *doctorNode) string { return n.sandbox }, level: "WARN",
			text: "without the shim's login", hint: "pull " + fixture.sandbox,
		},
		{
			name: "file in place of the state directory",
			fault: func(t *testing.T, n *doctorNode) {
				if err := os.Rename(n.file("state"), n.file("away")); err != nil {
					t.Fatal(err)
				}
				writeFile(t, n.file("state"), "")
			},
			check: "state", subject: nodeFile("state"), level: "FAIL", text: "is not a directory", hint: "remove the file",
		},
		{
			name:    "full disk",
			prepare: func(t *testing.T, n *doctorNode) { mountTmpfs(t, n.file("state"), "512k") },
			check:   "state", subject: nodeFile("state"), level: "FAIL", text: "the disk is full", hint: "free space",
		},
		{
			name:    "nearly full disk",
			prepare: func(t *testing.T, n *doctorNode) { mountTmpfs(t, n.file("state"), "8m") },
			check:   "state", subject: nodeFile("state"), level: "WARN", text: "nearly full", hint: "free space",
		},
		{
			name:    "read-only state directory",
			prepare: func(t *testing.T, n *doctorNode) { mountTmpfs(t, n.file("state"), "128m") },
			fault: func(t *testing.T, n *doctorNode) {
				if err := syscall.Mount("", n.file("state"), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
					t.Fatal(err)
				}
			},
			check: "state", subject: nodeFile("state"), level: "FAIL", text: "read-only", hint: "make the directory writable",
		},
		{
			name:  "damaged ledger",
			fault: func(t *testing.T, n *doctorNode) { writeFile(t, n.file("state/ledger.json"), `{"version":1,`) },
			check: "ledger", subject: nodeFile("state/ledger.json"), level: "WARN", text: "unexpected end", hint: "restart",
		},
	})
}

// TestDoctorOfASandboxImage covers sandbox images that only a registry has, or none.
func TestDoctorOfASandboxImage(t *testing.T) {
	fixture := newDoctorFixture(t, "registry.invalid/pause:3.9") // a host that no runtime reaches
	examine := func(entry string) doctorFinding {
		n := fixture.newNode(t)
		n.registryEntries = entry
		n.start(t, privatePassword)
		got := notOK(n.runDoctor(t))
		if len(got) != 1 || got[0].Check != "sandbox image" || got[0].Level != "FAIL" {
			t.Fatalf("got %+v, want only the sandbox image", got)
		}
		return got[0]
	}
	if f := examine(""); !strings.Contains(f.Hint, "set the runtime's sandbox image to "+shared.private.Host()+"/pause:3.9") {
		t.Errorf("got %+v", f)
	}
	fixture.containerd.Stop()
	fixture = newDoctorFixture(t, "registry.invalid/nobody-has/it:1")
	if f := examine(""); !strings.Contains(f.Text, "neither on the node nor in a configured registry") {
		t.Errorf("got %+v", f)
	}
}

// TestSandboxImageThroughTheShim follows the doctor's advice for a sandbox image that only
// the private registry has: a pull through the shim adds the name under which containerd
// looks for the sandbox image.
func TestSandboxImageThroughTheShim(t *testing.T) {
	fixture := newDoctorFixture(t, "registry.k8s.io/pause:3.9")
	n := fixture.newNode(t)
	n.start(t, privatePassword)
	advice := "pull the image through the shim: crictl --image-endpoint unix://" + n.shim.Socket() + " pull " + fixture.sandbox
	if got := notOK(n.runDoctor(t)); len(got) != 1 || !strings.HasPrefix(got[0].Hint, advice) {
		t.Fatalf("got %+v, want %q", got, advice)
	}
	through, direct := dial(t, n.shim.Socket()), dial(t, fixture.containerd.Socket())
	if _, err := through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: fixture.sandbox}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := notOK(n.runDoctor(t)); len(got) > 0 {
		t.Errorf("after the pull: got %+v", got)
	}
	pod, err := testbed.RunPod(testContext(t), direct, "sandbox", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := pod.Remove(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestDoctorForAnotherUser requires that the doctor reports the checks that need root, and
// performs the others.
func TestDoctorForAnotherUser(t *testing.T) {
	const nobody = 65534
	fixture := newDoctorFixture(t, shared.private.Host()+"/pause:3.9")
	n := fixture.newNode(t)
	n.start(t, privatePassword)
	for _, file := range []string{"", "image-cri-shim.yaml", "kubelet.yaml", "kubelet.env", "crictl.yaml", "kubeadm.yaml"} {
		chmod(t, n.file(file), 0o755)
	}
	binary, err := os.ReadFile(shared.shim)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.file("doctor"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(testContext(t), n.file("doctor"), n.arguments("--output", "json")...)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	command.Dir = "/"
	asked := map[string]bool{}
	for _, f := range n.runCommand(t, command) {
		asked[f.Check] = f.Level == "WARN" && strings.Contains(f.Hint, "root")
		if f.Level == "FAIL" {
			t.Errorf("got %+v", f)
		}
	}
	for check, want := range map[string]bool{"runtime": true, "shim": true, "state": true, "kubelet": false, "name": false, "login": false, "clock": false} {
		if got, there := asked[check]; !there || got != want {
			t.Errorf("%s requires root: %v (%v), want %v", check, got, there, want)
		}
	}
}

// awaitMode waits until the shim has given its socket the mode of the runtime's, which it does
// after it has begun to listen.
func awaitMode(t *testing.T, socket, runtime string) {
	t.Helper()
	eventually(t, func() string {
		got, err := os.Stat(socket)
		want, runtimeErr := os.Stat(runtime)
		if err := errors.Join(err, runtimeErr); err != nil {
			return err.Error()
		}
		if got.Mode().Perm() != want.Mode().Perm() {
			return fmt.Sprintf("the mode of %s is %v, want %v", socket, got.Mode(), want.Mode())
		}
		return ""
	})
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// mountTmpfs mounts a tmpfs of the given size on a folder until the test ends.
func mountTmpfs(t *testing.T, folder, size string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", filepath.Clean(folder), "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
