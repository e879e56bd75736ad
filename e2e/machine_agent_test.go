package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// The files of the agent's image and its unit on the machine.
const (
	agentImages = "/usr/local/share/agent"
	agentConfig = agentImages + "/config"
	agentUnit   = "agent.service"
	agentStatus = "/run/image-cri-shim-agent/status.json"
)

// agentPaths exist only while the shim is installed.
var agentPaths = []string{"/opt/image-cri-shim", "/var/lib/image-cri-shim", "/var/lib/image-cri-shim-agent", "/run/image-cri-shim.sock"}

// agentNode is a machine on which the agent's program runs with the real systemd.
type agentNode struct {
	pointingNode
	before map[string]string // the node's files
}

// newAgentNode starts a machine with kubelet and two versions of the agent.
func newAgentNode(t *testing.T) *agentNode {
	t.Helper()
	n := bootAgentNode(t)
	n.startKubelet(t)
	n.write(t, kubeletConfig, n.kubeletConfiguration())
	n.write(t, units+"/kubelet.service", "[Service]\nExecStart=/usr/local/bin/kubelet\nRestart=always\nRestartSec=1\n[Install]\nWantedBy=multi-user.target\n")
	n.must(t, "systemctl", "daemon-reload")
	n.must(t, "systemctl", "enable", "kubelet")
	n.must(t, "systemctl", "restart", "kubelet")
	n.wantKubelet(t, false)
	n.before = n.files(t)
	n.configureAgent(t, "")
	return n
}

// bootAgentNode starts a machine without kubelet, and builds two versions of the agent's test
// binary and of the shim.
func bootAgentNode(t *testing.T) *agentNode {
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
	n := &agentNode{pointingNode: pointingNode{healthz: free.Addr().(*net.TCPAddr).Port}}
	n.boot(t, runtime)
	n.must(t, append([]string{"rm", "-rf"}, agentPaths...)...) // of the machine on which the tests run
	n.must(t, "mkdir", "-p", agentConfig)
	for _, version := range []string{"v1", "v2"} {
		flags := "-s -w -X image-cri-shim/version.Version=" + version
		n.build(t, "..", "build", "-buildvcs=false", "-ldflags", flags, "-o", n.Path(agentImages+"/shim-"+version), ".")
		n.build(t, "../agent", "test", "-c", "-ldflags", flags, "-o", n.Path(agentImages+"/agent-"+version), "./cli")
	}
	return n
}

// configureAgent writes the folder with the configuration.
func (n *agentNode) configureAgent(t *testing.T, more string) {
	t.Helper()
	n.configureRuntime(t, "/run/containerd/containerd.sock", more)
}

// configureRuntime is configureAgent for another runtime.
func (n *agentNode) configureRuntime(t *testing.T, cri, more string) {
	t.Helper()
	n.write(t, agentConfig+"/image-cri-shim.yaml", privateConfiguration()+"cri: "+cri+"\n"+more)
}

// start starts a command of the agent's program. It kills itself before the step with a number.
func (n *agentNode) start(t *testing.T, number int, version string, arguments ...string) {
	t.Helper()
	eventually(t, func() string {
		if state := n.must(t, "systemctl", "show", "--value", "--property", "LoadState", agentUnit); state != "not-found" {
			return "the unit of the former agent is " + state
		}
		return ""
	})
	n.must(t, n.command(agentUnit, number, version, arguments...)...)
}

func (n *agentNode) command(unit string, number int, version string, arguments ...string) []string {
	return append([]string{"systemd-run", "--quiet", "--collect", "--unit", unit, "--property", "OOMPolicy=continue",
		agentImages + "/agent-" + version, fmt.Sprint(number), arguments[0], "--host=/", "--binary=" + agentImages + "/shim-" + version}, arguments[1:]...)
}

func (n *agentNode) startAgent(t *testing.T, number int, version string) {
	t.Helper()
	n.start(t, number, version, "agent", "--config="+agentConfig, "--jitter=0s", "--interval=1s")
}

// await waits until the program has ended, or its status is ready. It reports which one.
func (n *agentNode) await(t *testing.T) (ready bool) {
	t.Helper()
	eventuallyWithin(t, 2*time.Minute, func() string { // it may wait a minute for kubelet
		state, _ := n.Run(testContext(t), "systemctl", "is-active", agentUnit)
		if state != "active" {
			return ""
		}
		said, err := n.Run(testContext(t), agentImages+"/agent-v1", "-1", "status", "--host=/", "--ready")
		ready = err == nil
		if !ready {
			return "the agent is not ready: " + said
		}
		return ""
	})
	return ready
}

func (n *agentNode) stop(t *testing.T) {
	t.Helper()
	n.must(t, "sh", "-c", "systemctl stop "+agentUnit+" 2>/dev/null || true")
}

// agentStatus returns the status file.
func (n *agentNode) status(t *testing.T) (s struct {
	Ready, Removed, KubeletConnected bool
	Reason, Serving                  string
	KubeletRestarts                  int
	Drift                            struct {
		Count int
		Found []string
	}
}) {
	t.Helper()
	content, err := os.ReadFile(n.Path(agentStatus))
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// allowRestarts forgets the restarts of kubelet, of which the agent makes few within an hour.
func (n *agentNode) allowRestarts(t *testing.T) {
	t.Helper()
	const state = "/var/lib/image-cri-shim-agent/state.json"
	content, err := os.ReadFile(n.Path(state))
	if err != nil {
		return
	}
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "restarts")
	if content, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	n.write(t, state, string(content))
}

func (n *agentNode) checkAgentLog(t *testing.T) {
	t.Helper()
	n.checkLog(t)
	log := n.must(t, "journalctl", "--no-pager", "--output", "cat", "--unit", "agent*")
	wantNoSecret(t, "the agent's log", []byte(log))
	if t.Failed() {
		t.Logf("the agent's log:\n%s", log[max(0, len(log)-8192):])
	}
}

// TestPackageServiceAgentKilled kills the agent with SIGKILL before each of its steps, at a first
// installation, an upgrade and a removal. The next one must end right, and the removal must
// leave the node's files as they were.
func TestPackageServiceAgentKilled(t *testing.T) {
	n := newAgentNode(t)
	defer n.checkAgentLog(t)
	more := [3]bool{true, true, true}
	for number := 0; more != [3]bool{}; number++ {
		for i, stage := range []struct {
			name, version string
			arguments     []string
		}{
			{"installation", "v1", []string{"agent", "--config=" + agentConfig, "--jitter=0s", "--interval=1s"}},
			{"upgrade", "v2", []string{"agent", "--config=" + agentConfig, "--jitter=0s", "--interval=1s"}},
			{"removal", "v2", []string{"remove", "--interval=1s"}},
		} {
			starts := n.restarts(t)
			if more[i] {
				n.start(t, number, stage.version, stage.arguments...)
				more[i] = !n.await(t)
				n.stop(t)
			}
			n.start(t, -1, stage.version, stage.arguments...)
			if !n.await(t) {
				t.Fatalf("%s killed at step %d: the agent has ended", stage.name, number)
			}
			n.stop(t)
			if took := n.restarts(t) - starts; took > 2 || stage.name == "upgrade" && took > 0 {
				t.Errorf("%s killed at step %d: kubelet was started %d times", stage.name, number, took)
			}
			if s := n.status(t); stage.name != "removal" && (s.Serving != stage.version || !s.KubeletConnected) {
				t.Errorf("%s killed at step %d: status %+v", stage.name, number, s)
			}
			n.wantKubelet(t, stage.name != "removal")
			n.allowRestarts(t)
		}
		n.wantFiles(t, n.before)
		for _, path := range agentPaths {
			if _, err := os.Lstat(n.Path(path)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("removal killed at step %d: %s: %v", number, path, err)
			}
		}
		if t.Failed() || number > 30 {
			t.Fatalf("after step %d", number)
		}
	}
}

// TestPackageServiceAgent runs the agent: changes by hand, a configuration that is refused, two
// agents at once, a kubelet that fails, and signals.
func TestPackageServiceAgent(t *testing.T) {
	n := newAgentNode(t)
	defer n.checkAgentLog(t)
	n.startAgent(t, -1, "v1")
	if !n.await(t) {
		t.Fatal("the agent has ended")
	}

	t.Run("drift", func(t *testing.T) {
		for _, change := range []string{
			"systemctl stop image-cri-shim.socket image-cri-shim.service",
			"systemctl disable image-cri-shim.service",
			"echo '# by hand' >>/etc/image-cri-shim.yaml",
			"rm /etc/image-cri-shim.yaml",
			"rm /opt/image-cri-shim/current",
			"rm -r /opt/image-cri-shim/v1",
			"echo '# by hand' >>/etc/systemd/system/image-cri-shim.service",
			"rm /etc/systemd/system/image-cri-shim.*; systemctl daemon-reload",
			"sed -i s,/var/run/image-cri-shim.sock,/run/containerd/containerd.sock, " + kubeletConfig,
		} {
			before := n.status(t).Drift.Count // the agent may find one change in two parts
			n.must(t, "sh", "-c", change)
			eventuallyWithin(t, time.Minute, func() string {
				if s := n.status(t); s.Drift.Count <= before || !s.Ready {
					return fmt.Sprintf("after %s: %+v", change, s)
				}
				return ""
			})
			n.wantKubelet(t, true)
			n.allowRestarts(t)
		}
	})

	t.Run("another agent", func(t *testing.T) {
		n.must(t, n.command("agent-2.service", -1, "v2", "agent", "--config="+agentConfig, "--jitter=0s", "--interval=1s")...)
		process := n.must(t, "systemctl", "show", "--value", "--property", "MainPID", agentUnit)
		eventually(t, func() string {
			log := n.must(t, "journalctl", "--no-pager", "--output", "cat", "--unit", "agent-2")
			if !strings.Contains(log, "process "+process+" holds it") {
				return "the second agent's log:\n" + log
			}
			return ""
		})
		if s := n.status(t); s.Serving != "v1" {
			t.Errorf("the second agent did not wait: %+v", s)
		}
		n.stop(t)
		eventuallyWithin(t, time.Minute, func() string {
			if s := n.status(t); s.Serving != "v2" || !s.Ready {
				return fmt.Sprintf("%+v", s)
			}
			return ""
		})
		n.must(t, "systemctl", "stop", "agent-2")
	})

	t.Run("refused", func(t *testing.T) {
		before := n.files(t)
		n.configureAgent(t, "registries: 7\n")
		n.startAgent(t, -1, "v2")
		if n.await(t) {
			t.Error("the agent is ready with an invalid configuration")
		}
		log := n.must(t, "journalctl", "--no-pager", "--output", "cat", "--unit", "agent")
		if !strings.Contains(log, "check the configuration: image-cri-shim.yaml:") {
			t.Errorf("the log:\n%s", log[max(0, len(log)-2000):])
		}
		n.wantFiles(t, before)
		n.wantKubelet(t, true)
		n.configureAgent(t, "")
	})

	t.Run("kubelet fails", func(t *testing.T) {
		n.must(t, "sed", "-i", "s,/var/run/image-cri-shim.sock,/run/containerd/containerd.sock,", kubeletConfig)
		n.must(t, "systemctl", "restart", "kubelet")
		restore := n.failAtShim(t)
		starts := n.restarts(t)
		n.configureAgent(t, "drain: 31s\n")
		n.startAgent(t, -1, "v2")
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
			if state, _ := n.Run(testContext(t), "systemctl", "is-active", agentUnit); state != "active" {
				break
			}
		}
		s := n.status(t)
		if s.Ready || !strings.Contains(s.Reason, "kubelet does not work through the shim within 1m") || s.KubeletRestarts > 3 {
			t.Errorf("status: %+v", s)
		}
		n.wantKubelet(t, false)
		n.wantStarts(t, starts, 1) // the other restart fails before
		n.startAgent(t, -1, "v2")
		if n.await(t) {
			t.Error("the agent is ready")
		}
		if s := n.status(t); !strings.Contains(s.Reason, "; next attempt at ") {
			t.Errorf("status: %+v", s)
		}
		restore()
		n.allowRestarts(t)
		n.configureAgent(t, "drain: 32s\n") // is applied at once
		n.startAgent(t, -1, "v2")
		if !n.await(t) {
			t.Error("the agent has ended")
		}
		n.wantKubelet(t, true)
		n.stop(t)
		n.configureAgent(t, "")
	})

	t.Run("signal", func(t *testing.T) {
		n.start(t, -1, "v2", "remove", "--interval=1s")
		n.await(t)
		n.stop(t)
		n.wantKubelet(t, false)
		restore := n.failAtShim(t)
		n.startAgent(t, -1, "v2")
		eventually(t, func() string {
			if !strings.Contains(n.must(t, "cat", agentStatus), "wait for kubelet") {
				return "kubelet is not restarted"
			}
			return ""
		})
		start := time.Now()
		n.stop(t)
		if took := time.Since(start); took > 20*time.Second { // not the minute for kubelet
			t.Errorf("the agent ended after %s", took)
		}
		if content := n.must(t, "cat", kubeletConfig); !strings.Contains(content, "image-cri-shim.sock") {
			t.Error("kubelet was pointed back after the signal")
		}
		restore()
		n.startAgent(t, -1, "v2")
		if !n.await(t) {
			t.Error("the agent has ended")
		}
		n.wantKubelet(t, true)
		n.stop(t)
		n.start(t, -1, "v2", "remove", "--once")
		eventually(t, func() string {
			if _, err := os.Stat(n.Path(filepath.Dir("/var/lib/image-cri-shim-agent/state.json"))); err == nil {
				return "not removed"
			}
			return ""
		})
		n.wantFiles(t, n.before)
	})
}
