package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// distributionNode is a machine with the stand-in for a distribution.
type distributionNode struct {
	*agentNode
	unit  string            // that runs kubelet
	files map[string]string // of the distribution
}

// start writes the distribution's files and starts its unit.
func (n *distributionNode) begin(t *testing.T, cri string) {
	t.Helper()
	for path, content := range n.files {
		n.write(t, path, content)
	}
	n.must(t, "systemctl", "daemon-reload")
	n.must(t, "systemctl", "restart", n.unit)
	n.before = n.state(t)
	n.configureRuntime(t, cri, "")
}

// end removes the distribution.
func (n *distributionNode) end(t *testing.T) {
	t.Helper()
	n.must(t, "systemctl", "stop", n.unit)
	n.must(t, append([]string{"rm", "-f"}, slices.Collect(maps.Keys(n.files))...)...)
	n.must(t, "systemctl", "daemon-reload")
}

// state returns the content of the configuration files of the node, by path, and the folders of
// k3s and RKE2.
func (n *distributionNode) state(t *testing.T) map[string]string {
	t.Helper()
	files := n.agentNode.files(t)
	const arguments = "/var/snap/microk8s/current/args/kubelet"
	if content, err := os.ReadFile(n.Path(arguments)); err == nil {
		files[arguments] = string(content)
	}
	for _, folder := range []string{"/etc/rancher/k3s/config.yaml.d", "/etc/rancher/rke2/config.yaml.d"} {
		if _, err := os.Stat(n.Path(folder)); err == nil {
			files[folder] = "folder"
		}
	}
	return files
}

func (n *distributionNode) wantBefore(t *testing.T) {
	t.Helper()
	if after := n.state(t); !maps.Equal(after, n.before) {
		for path, content := range after {
			if n.before[path] != content {
				t.Errorf("%s is now %q, was %q", path, content, n.before[path])
			}
		}
		for path := range n.before {
			if _, found := after[path]; !found {
				t.Errorf("%s is missing", path)
			}
		}
	}
}

// starts returns the number of starts of the unit.
func (n *distributionNode) starts(t *testing.T) int {
	t.Helper()
	n.must(t, "journalctl", "--sync")
	return strings.Count(n.must(t, "journalctl", "--no-pager", "--output", "cat", "--unit", n.unit), "Started "+n.unit)
}

// apply runs a command of the agent until it is ready, and requires a number of starts of the
// unit.
func (n *distributionNode) apply(t *testing.T, version string, starts int, arguments ...string) {
	t.Helper()
	before := n.starts(t)
	n.agentNode.start(t, -1, version, arguments...)
	if !n.await(t) {
		t.Fatalf("%s: the agent has ended: %s", arguments[0], n.status(t).Reason)
	}
	n.stop(t)
	if got := n.starts(t) - before; got != starts {
		t.Errorf("%s: %s was started %d times, want %d", arguments[0], n.unit, got, starts)
	}
}

var applyArguments = []string{"agent", "--config=" + agentConfig, "--jitter=0s", "--interval=1s"}

// TestPackageServiceDistributions lets the agent install, upgrade and remove the shim on nodes
// on which a distribution runs kubelet. The distributions are stand-ins that read the same files.
func TestPackageServiceDistributions(t *testing.T) {
	node := bootAgentNode(t)
	defer node.checkAgentLog(t)
	node.installStandIns(t)
	healthz := fmt.Sprint(node.healthz)
	const rancherUnit = "[Service]\nKillMode=process\nRestart=always\nRestartSec=1\nExecStart="
	const rancherContent = "kubelet-arg+: [\"container-runtime-endpoint=unix:///var/run/image-cri-shim.sock\"]\n"
	const k3s, rke2 = "/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml"
	for _, test := range []struct {
		name, unit, cri string
		files           map[string]string
		path, want      string // file that points kubelet at the shim
	}{
		{"k3s server", "k3s.service", "/run/k3s/containerd/containerd.sock", map[string]string{
			k3s: "token: x\nkubelet-arg: [\"healthz-port=" + healthz + "\"]\n", units + "/k3s.service": rancherUnit + k3sPath + " server\n",
		}, k3s + ".d/99-image-cri-shim.yaml", rancherContent},
		{"k3s agent", "k3s-agent.service", "/run/k3s/containerd/containerd.sock", map[string]string{
			k3s + ".d/10-kubelet.yaml": "kubelet-arg: [\"healthz-port=" + healthz + "\"]\n", units + "/k3s-agent.service": rancherUnit + k3sPath + " agent\n",
		}, k3s + ".d/99-image-cri-shim.yaml", rancherContent},
		{"k3s with a runtime of the node", "k3s.service", testContainerd, map[string]string{
			k3s: "container-runtime-endpoint: " + testContainerd + "\nkubelet-arg: [\"healthz-port=" + healthz + "\"]\n", units + "/k3s.service": rancherUnit + k3sPath + " server\n",
		}, k3s, "container-runtime-endpoint: unix:///var/run/image-cri-shim.sock\nkubelet-arg: [\"healthz-port=" + healthz + "\"]\n"},
		{"RKE2 server", "rke2-server.service", "/run/k3s/containerd/containerd.sock", map[string]string{
			rke2: "kubelet-arg: [\"healthz-port=" + healthz + "\"]\n", units + "/rke2-server.service": rancherUnit + rke2Path + " server\n",
		}, rke2 + ".d/99-image-cri-shim.yaml", rancherContent},
		{"MicroK8s", "snap.microk8s.daemon-kubelite.service", "/var/snap/microk8s/common/run/containerd.sock", map[string]string{
			"/var/snap/microk8s/current/args/kubelet":        "--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n--healthz-port=" + healthz + "\n",
			units + "/snap.microk8s.daemon-kubelite.service": "[Service]\nExecStart=" + kubelitePath + "\nRestart=on-failure\n",
		}, "/var/snap/microk8s/current/args/kubelet", "--container-runtime-endpoint=unix:///var/run/image-cri-shim.sock\n--healthz-port=" + healthz + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &distributionNode{agentNode: node, unit: test.unit, files: test.files}
			n.begin(t, test.cri)
			defer n.end(t)
			n.apply(t, "v1", 1, applyArguments...)
			content, err := os.ReadFile(n.Path(test.path))
			if err != nil || string(content) != test.want {
				t.Errorf("%s is %q, %v", test.path, content, err)
			}
			n.apply(t, "v2", 0, applyArguments...)
			if s := n.status(t); s.Serving != "v2" || !s.KubeletConnected || s.KubeletRestarts != 1 {
				t.Errorf("status after the upgrade: %+v", s)
			}
			n.mustPoint(t, "unpoint")
			n.wantBeforePointing(t)
			n.write(t, "/run/fail-at-shim", "")
			if said, err := n.point(t, "point"); err == nil || !strings.Contains(said, "the files were restored, and "+strings.TrimSuffix(n.unit, ".service")+" was restarted again: kubelet does not work through the shim within 15s") {
				t.Errorf("a kubelet that fails: %v", err)
			}
			n.must(t, "rm", "/run/fail-at-shim")
			n.wantBeforePointing(t)
			n.allowRestarts(t)
			n.apply(t, "v2", 1, applyArguments...)
			n.apply(t, "v2", 1, "remove", "--interval=1s")
			n.wantBefore(t)
			n.wantNoAgent(t)
		})
	}
}

// installStandIns installs the stand-ins for the distributions, and the agent's code that points
// kubelet.
func (n *agentNode) installStandIns(t *testing.T) {
	t.Helper()
	n.build(t, "../agent", "test", "-c", "-o", n.Path(pointer), "./pointing")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{k3sPath, rke2Path, k0sPath, kubelitePath, "/usr/local/bin/kubelet"} {
		n.write(t, path, string(self))
		n.must(t, "chmod", "755", path)
	}
	n.must(t, "mkdir", "-p", "/var/snap/microk8s/common/run", "/var/lib/kubelet")
	n.must(t, "ln", "-s", testContainerd, "/var/snap/microk8s/common/run/containerd.sock")
}

// point runs a step of the agent's code that points kubelet, which waits for a shorter time.
func (n *distributionNode) point(t *testing.T, step string) (said string, err error) {
	t.Helper()
	return n.Run(testContext(t), pointer, "/opt/image-cri-shim/v2/image-cri-shim", step)
}

func (n *distributionNode) mustPoint(t *testing.T, step string) {
	t.Helper()
	if _, err := n.point(t, step); err != nil {
		t.Fatal(err)
	}
}

// wantBeforePointing requires that the distribution's files are as before, while the shim is
// installed.
func (n *distributionNode) wantBeforePointing(t *testing.T) {
	t.Helper()
	after := n.state(t)
	for path, content := range n.before {
		if after[path] != content {
			t.Errorf("%s is %q, want %q", path, after[path], content)
		}
	}
	for path := range after {
		if _, found := n.before[path]; !found && strings.Contains(path, "rancher") {
			t.Errorf("%s is left", path)
		}
	}
	n.must(t, "systemctl", "is-active", n.unit)
}

// TestPackageServiceK0s requires that the agent says what to write into the unit of k0s, which
// it does not edit, that it is ready after that, and that its removal says the same.
func TestPackageServiceK0s(t *testing.T) {
	node := bootAgentNode(t)
	defer node.checkAgentLog(t)
	node.installStandIns(t)
	const unit, argument = units + "/k0sworker.service", "--container-runtime-endpoint=unix:///var/run/image-cri-shim.sock"
	text := "[Service]\nKillMode=process\nExecStart=" + k0sPath + " worker \"--kubelet-extra-args=--healthz-port=" + fmt.Sprint(node.healthz) + "\"\n"
	n := &distributionNode{agentNode: node, unit: "k0sworker.service", files: map[string]string{unit: text}}
	n.begin(t, "/run/k0s/containerd.sock")

	refuse := func(want string, arguments ...string) {
		t.Helper()
		starts := n.starts(t)
		n.agentNode.start(t, -1, "v1", arguments...)
		if n.await(t) {
			t.Fatal("the agent is ready")
		}
		if s := n.status(t); !strings.Contains(s.Reason, want) {
			t.Errorf("the reason is %q, want %q", s.Reason, want)
		}
		if got := n.starts(t); got != starts {
			t.Errorf("k0s was started %d times", got-starts)
		}
	}
	refuse("append "+argument+" to the value of --kubelet-extra-args in "+unit+", run systemctl daemon-reload, then run systemctl restart k0sworker", applyArguments...)
	n.write(t, unit, strings.Replace(text, "healthz-port=", argument[2:]+" --healthz-port=", 1))
	n.must(t, "systemctl", "daemon-reload")
	n.must(t, "systemctl", "restart", "k0sworker")
	n.configureRuntime(t, "/run/k0s/containerd.sock", "drain: 31s\n") // is applied at once
	n.apply(t, "v1", 0, applyArguments...)
	n.apply(t, "v2", 0, applyArguments...)

	refuse("k0sworker.service: line 3: container-runtime-endpoint: points at the shim, and is in a systemd unit, which is not edited: change the line to `ExecStart="+k0sPath, "remove", "--once")
	n.write(t, unit, text)
	n.must(t, "systemctl", "daemon-reload")
	n.must(t, "systemctl", "restart", "k0sworker")
	n.must(t, "rm", "-r", filepath.Dir("/var/lib/image-cri-shim-agent/state.json")+"/state.json") // with the time of the next attempt
	n.apply(t, "v2", 0, "remove", "--interval=1s")
	n.wantBefore(t)
}
