package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInstallAsAnotherUser requires that install and uninstall of another user than root name
// the file without permission, and the remedy.
func TestInstallAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	folder, err := os.MkdirTemp("", "install-user-") // other users can't enter the parents of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	binary := filepath.Join(folder, "image-cri-shim") // testscript.Main runs the command of this name
	self, err := os.ReadFile("/proc/self/exe")
	kubelet, shim := filepath.Join(folder, "config.yaml"), filepath.Join(folder, "shim.yaml")
	if err := errors.Join(err, os.WriteFile(binary, self, 0o755), os.Chmod(folder, 0o755), os.Chmod(binary, 0o755),
		os.WriteFile(shim, []byte("cri: /run/containerd/containerd.sock\n"), 0o644), os.Chmod(shim, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		command string
		mode    os.FileMode // of kubelet's file
		want    string
	}{
		{"install", 0o600, "install: nothing was changed: " + kubelet + ": open " + kubelet + ": permission denied\nhint: run this command as root"},
		{"uninstall", 0o600, "uninstall: nothing was changed: " + kubelet + ": open " + kubelet + ": permission denied\nhint: run this command as root"},
		{"install", 0o644, "install: the files were restored: write the backup: open " + folder + "/config.yaml.image-cri-shim.bak.image-cri-shim.tmp: permission denied"},
	} {
		if err := errors.Join(os.WriteFile(kubelet, nil, 0o600), os.Chmod(kubelet, test.mode)); err != nil {
			t.Fatal(err)
		}
		arguments := []string{"--file", shim, test.command, "--kubelet-config", kubelet, "--kubelet-flags", "none", "--kubelet-instance-config", "none", "--crictl-config", "none"}
		if test.mode == 0o644 {
			arguments = append(arguments, "--force")
		}
		command := exec.CommandContext(t.Context(), binary, arguments...)
		command.Dir = folder
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		output, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(output), test.want) || !strings.HasSuffix(string(output), "\nhint: run this command as root\n") {
			t.Errorf("%s: %v\n%s\nwant %q", test.command, err, output, test.want)
		}
	}
}
