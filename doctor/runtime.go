package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkRuntime reports whether the runtime answers, and its name and version.
func checkRuntime(_ context.Context, n *node) []Finding {
	t := topic{"runtime", n.Settings.Runtime}
	if n.keepsFormerRuntime() {
		return []Finding{topic{"configuration", n.File}.fail("set the key cri to the runtime's socket; do not restart the shim before",
			"cri was changed to %s, where no runtime answers (%s); the running shim still uses its former runtime", t.subject, n.runtime.problem())}
	}
	switch c := n.runtime; {
	case isHung(c.dialErr):
		return []Finding{t.fail(restartRuntimeHint(t.subject), "the runtime hangs: it does not accept connections")}
	case c.dialErr != nil:
		return []Finding{dialFinding(t, c.dialErr, "cri", startRuntimeHint(t.subject))}
	case isHung(c.callErr):
		return []Finding{t.fail(restartRuntimeHint(t.subject), "the runtime hangs: it accepts connections, but did not answer within %v", checkTimeout)}
	case !c.answers():
		return []Finding{t.fail("set the key cri to the socket of the runtime's CRI; if this is that socket, see the runtime's log", "the socket accepts connections, but calls fail: %v", c.callErr)}
	case c.versions[0] != "v1":
		return []Finding{t.warn("update the runtime: kubelet 1.26 and later support only CRI v1", "%s, CRI %s", c.name(), c.versions[0])}
	default:
		return []Finding{t.ok("%s, CRI %s", c.name(), strings.Join(c.versions, " and "))}
	}
}

// isHung reports whether an error means that a server exists, but does not answer in time.
// A unix socket with a full backlog returns EAGAIN.
func isHung(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// restartRuntimeHint is the remedy for a runtime that hangs.
func restartRuntimeHint(socket string) string {
	if unit := unitOf(socket); unit != "" {
		return fmt.Sprintf("restart the runtime, containers keep running: `systemctl restart %s`; `journalctl -u %s` shows its last actions", unit, unit)
	}
	return fmt.Sprintf("restart the process that serves the socket, containers keep running: `ss -lxp | grep %s` shows it", socket)
}

// startRuntimeHint is the remedy for a runtime that is not running.
func startRuntimeHint(socket string) string {
	hint := "start the runtime"
	if unit := unitOf(socket); unit != "" {
		hint += fmt.Sprintf(": `systemctl start %s`", unit)
	}
	return hint + "; if it serves another socket, set the key cri to that"
}

// unitOf returns the usual systemd unit of the runtime that serves a socket, or "".
func unitOf(socket string) string {
	switch strings.TrimPrefix(socket, "/var") {
	case "/run/containerd/containerd.sock":
		return "containerd"
	case "/run/crio/crio.sock":
		return "crio"
	case "/run/cri-dockerd.sock":
		return "cri-docker"
	}
	return ""
}

// keepsFormerRuntime reports whether the running shim serves with another runtime than cri,
// which does not answer.
func (n *node) keepsFormerRuntime() bool {
	return n.isRunning() && n.shimStatus.Waiting == "" && slices.Contains(n.shimStatus.Restart, "cri") && !n.runtime.answers()
}
