package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestPackageServiceImmutable lets the agent install, upgrade and remove the shim on a node with a
// read-only /usr, as on Flatcar and Fedora CoreOS. It then requires that systems that can't keep
// the shim are refused before any change, and that a removal from all nodes ends there.
func TestPackageServiceImmutable(t *testing.T) {
	n := newAgentNode(t)
	defer n.checkAgentLog(t)
	n.must(t, "mount", "--make-rshared", "/") // services see later changes of mounts
	n.must(t, "mount", "--bind", "/usr", "/usr")
	n.must(t, "mount", "-o", "remount,bind,ro", "/usr")
	if _, err := n.Run(testContext(t), "touch", "/usr/bin/new"); err == nil {
		t.Fatal("/usr is not read-only")
	}
	ready := func(version string, arguments ...string) {
		t.Helper()
		n.start(t, -1, version, arguments...)
		if !n.await(t) {
			t.Fatalf("%s: the agent has ended", arguments[0])
		}
		n.stop(t)
	}
	ready("v1", applyArguments...)
	n.wantKubelet(t, true)
	ready("v2", applyArguments...)
	if s := n.status(t); s.Serving != "v2" || !s.KubeletConnected || s.KubeletRestarts != 1 {
		t.Errorf("status after the upgrade: %+v", s)
	}
	ready("v2", "remove", "--interval=1s")
	n.wantKubelet(t, false)
	n.wantFiles(t, n.before)
	n.wantNoAgent(t)

	release := func(content string) string {
		return "rm /etc/os-release && echo '" + content + "' >/etc/os-release"
	}
	const releaseBack = "rm /etc/os-release && ln -s ../usr/lib/os-release /etc/os-release"
	bind := func(folder, option string) (change, back string) {
		return "mount --bind " + folder + " " + folder + " && mount -o remount,bind," + option + " " + folder, "umount " + folder
	}
	readOnlyOpt, umountOpt := bind("/opt", "ro")
	noexecOpt, _ := bind("/opt", "noexec")
	readOnlyUnits, umountUnits := bind("/etc/systemd/system", "ro")
	for name, test := range map[string]struct{ change, back, want string }{
		"read-only /opt":         {readOnlyOpt, umountOpt, "the agent can't install files in /opt/image-cri-shim: it is on a read-only file system; mount a writable file system without noexec at /opt"},
		"noexec /opt":            {noexecOpt, umountOpt, "/opt/image-cri-shim: its file system is mounted noexec"},
		"read-only units":        {readOnlyUnits, umountUnits, "the agent can't install files in /etc/systemd/system: it is on a read-only file system; on a system such as NixOS, add the shim's units"},
		"units in memory":        {"mount -t tmpfs tmpfs /etc/systemd/system", umountUnits, "/etc/systemd/system: it is in memory and lost at a reboot"},
		"Talos":                  {release("ID=talos"), releaseBack, "Talos has no systemd; set machine.registries.mirrors"},
		"Bottlerocket":           {release("ID=bottlerocket"), releaseBack, "set settings.container-registry.mirrors"},
		"Container-Optimized OS": {release("ID=cos"), releaseBack, "registryHosts"},
		"OpenShift":              {release("OPENSHIFT_VERSION=4.22"), releaseBack, "ImageTagMirrorSet"},
	} {
		t.Run(name, func(t *testing.T) {
			starts := n.restarts(t)
			n.must(t, "sh", "-c", test.change)
			n.start(t, -1, "v1", applyArguments...)
			if n.await(t) {
				t.Error("the agent is ready")
			}
			n.must(t, "journalctl", "--sync")
			log := n.must(t, "journalctl", "--no-pager", "--output", "cat", "--lines", "20", "--unit", "agent")
			if !strings.Contains(log, test.want) || !strings.Contains(log, "nothing was changed; the label image-cri-shim.io/enabled=false") {
				t.Errorf("the log is\n%s\nwant %q", log, test.want)
			}
			n.wantNoAgent(t)
			ready("v1", "remove", "--interval=1s")
			if s := n.status(t); !s.Ready || !s.Removed {
				t.Errorf("the removal: %+v", s)
			}
			n.wantStarts(t, starts, 0)
			n.must(t, "sh", "-c", test.back)
			n.wantFiles(t, n.before)
		})
	}
}

// wantNoAgent requires that no file of the agent or the shim exists.
func (n *agentNode) wantNoAgent(t *testing.T) {
	t.Helper()
	for _, path := range agentPaths {
		if _, err := os.Lstat(n.Path(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s exists: %v", path, err)
		}
	}
}
