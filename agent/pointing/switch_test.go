package pointing

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSwitchUnits requires that systemd accepts the units of the switch, that they run before
// kubelet at boot, and that they name former sockets only if the configuration does not.
func TestSwitchUnits(t *testing.T) {
	n := newTestNode(t)
	n.binary = "/opt/image-cri-shim/v1 50%/image-cri-shim"
	n.write("/bin/systemctl", "")
	units := func() string {
		t.Helper()
		s := n.newSwitch(must(n.node(t.Context(), n.settings)))
		if err := s.arm(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(n.path(unitFolder + "/" + revertService))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := units()
	for _, want := range []string{
		"\nBefore=kubelet.service\n",
		"\nType=simple\n", // systemd 239 refuses Restart= for oneshot
		"\nExecStartPre=-\"/opt/image-cri-shim/v1 50%%/image-cri-shim\" uninstall\n",
		"\nExecStartPre=\"/bin/systemctl\" restart --no-block kubelet.service\n",
		"\nExecStartPre=-\"/bin/systemctl\" disable image-cri-shim-revert.service\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the service does not contain %q:\n%s", want, text)
		}
	}
	if err := n.record("/run/former.sock", n.settings.Shim); err != nil {
		t.Fatal(err)
	}
	if text := units(); !strings.Contains(text, " uninstall --former-shim \"/run/former.sock\"\n") {
		t.Errorf("the service does not name the former socket:\n%s", text)
	}
	_ = os.Remove(n.path("/etc/image-cri-shim.yaml"))
	if text := units(); !strings.Contains(text, " --former-shim \""+n.settings.Shim+"\"") {
		t.Errorf("without a configuration, the service does not name the socket:\n%s", text)
	}

	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	n.binary = "/bin/sh"
	units()
	command := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", n.path(unitFolder+"/"+revertTimer), n.path(unitFolder+"/"+revertService))
	if output, err := command.CombinedOutput(); err != nil || strings.Contains(string(output), "image-cri-shim") {
		t.Errorf("systemd-analyze: %v\n%s", err, output)
	}
}
