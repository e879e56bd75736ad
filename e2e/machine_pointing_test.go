package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

var pointSteps = []string{"arm the switch", "edit the files of the clients", "restart kubelet", "wait for kubelet", "disarm the switch"}

// TestPackageServicePointing points a kubelet under a real systemd at the shim and back, with an
// agent that is killed or frozen at each step, a kubelet that fails, and a reboot in between.
func TestPackageServicePointing(t *testing.T) {
	n := newPointingNode(t)
	n.install(t)
	defer n.checkLog(t)
	before := n.files(t)

	for _, step := range append([]string{"none"}, pointSteps...) {
		t.Run("killed at "+step, func(t *testing.T) {
			starts := n.restarts(t)
			if _, err := n.run(t, "point", step, "KILL"); (err == nil) != (step == "none") {
				t.Fatal("point:", err)
			}
			n.mustRun(t, "resume")
			if step == pointSteps[0] { // nothing was changed
				n.wantFiles(t, before)
				n.mustRun(t, "point")
			}
			n.wantKubelet(t, true)
			n.wantStarts(t, starts, 1)
			for _, step := range []string{"arm the switch", "point the clients back and restart kubelet", "disarm the switch", "wait for kubelet"} {
				if _, err := n.run(t, "unpoint", step, "KILL"); err == nil && step == "arm the switch" {
					t.Error("unpoint was not killed")
				}
			}
			n.mustRun(t, "unpoint")
			n.wantKubelet(t, false)
			n.wantFiles(t, before)
			n.wantStarts(t, starts, 2)
		})
	}

	t.Run("kubelet fails", func(t *testing.T) {
		restore := n.failAtShim(t)
		if _, err := n.run(t, "point"); err == nil || !strings.Contains(err.Error(), "the files were restored, and kubelet was restarted again: kubelet does not work through the shim within 15s") {
			t.Errorf("point: %v", err)
		}
		n.wantKubelet(t, false)
		restore()
		n.wantFiles(t, before)
	})

	t.Run("the timer acts without the agent", func(t *testing.T) {
		restore := n.failAtShim(t)
		if _, err := n.run(t, "point", "wait for kubelet", "KILL"); err == nil {
			t.Fatal("point was not killed")
		}
		lengthen := n.elapse(t)
		n.awaitSwitch(t)
		n.wantKubelet(t, false)
		if _, err := n.run(t, "resume"); err == nil || !strings.Contains(err.Error(), "did not confirm in time") {
			t.Errorf("resume: %v", err)
		}
		restore()
		lengthen()
		n.wantFiles(t, before)
		n.mustRun(t, "resume")
	})

	for _, step := range pointSteps[1:] {
		t.Run("frozen at "+step, func(t *testing.T) {
			const result = "/run/pointer"
			n.must(t, "sh", "-c", fmt.Sprintf("(echo $$ >%s.pid; %s %s point '%s' STOP >%s.log 2>&1; echo $? >%s.code) </dev/null >/dev/null 2>&1 &", result, pointer, shimOnNode, step, result, result))
			eventually(t, func() string {
				if log, _ := os.ReadFile(n.Path(result + ".log")); !strings.HasSuffix(string(log), step+"\n") {
					return "the agent is not frozen: " + string(log)
				}
				return ""
			})
			lengthen := n.elapse(t) // once it is frozen, whatever that took
			n.awaitSwitch(t)
			lengthen()
			n.must(t, "pkill", "-CONT", "-x", "pointer")
			eventually(t, func() string {
				if code, _ := os.ReadFile(n.Path(result + ".code")); string(code) != "1\n" {
					return fmt.Sprintf("the agent's exit code is %q", code)
				}
				return ""
			})
			log, err := os.ReadFile(n.Path(result + ".log"))
			if err != nil || !strings.Contains(string(log), "did not confirm in time") {
				t.Errorf("the agent printed\n%s, %v", log, err)
			}
			n.must(t, "sh", "-c", "rm "+result+".*")
			n.wantKubelet(t, false)
			n.wantFiles(t, before)
		})
	}

	t.Run("unpoint without shim and configuration", func(t *testing.T) {
		n.mustRun(t, "point")
		n.wantKubelet(t, true)
		n.must(t, "systemctl", "stop", "image-cri-shim.service")
		n.must(t, "mv", "/etc/image-cri-shim.yaml", "/run/kept")
		n.mustRun(t, "unpoint")
		n.mustRun(t, "unpoint")
		n.wantKubelet(t, false)
		n.must(t, "mv", "/run/kept", "/etc/image-cri-shim.yaml")
		n.must(t, "systemctl", "start", "image-cri-shim.service")
		n.wantFiles(t, before)
	})
}

// TestPackageServicePowerFailure cuts the power while the switch is armed. At boot, the switch
// must point kubelet back before kubelet starts, without the runtime.
func TestPackageServicePowerFailure(t *testing.T) {
	n := newPointingNode(t)
	n.install(t)
	n.failAtShim(t)
	before := n.files(t)
	if _, err := n.run(t, "point", "wait for kubelet", "KILL"); err == nil {
		t.Fatal("point was not killed")
	}
	n.restart(t)
	n.must(t, "mount", "-t", "tmpfs", "tmpfs", "/run/containerd") // the runtime does not answer yet
	n.must(t, "systemctl", "start", "--no-block", "multi-user.target")
	n.awaitSwitch(t)
	n.must(t, "umount", "/run/containerd")
	n.wantKubelet(t, false)
	n.must(t, "journalctl", "--sync")
	if log := n.must(t, "journalctl", "--no-pager", "--unit", "kubelet"); strings.Contains(log, "Control process exited") {
		t.Errorf("kubelet was started before the switch has acted:\n%s", log)
	}
	if _, err := n.run(t, "resume"); err == nil || !strings.Contains(err.Error(), "did not confirm in time") {
		t.Errorf("resume: %v", err)
	}
	n.wantFiles(t, before)
	n.checkLog(t)
}
