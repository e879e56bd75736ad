package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"image-cri-shim/admin"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

const (
	startHint   = "start the shim: `systemctl start image-cri-shim`; `journalctl -u image-cri-shim` shows why it stopped"
	restartHint = "restart the shim: `systemctl restart image-cri-shim`"
)

// checkShimSocket reports whether clients reach the runtime through the shim.
func checkShimSocket(_ context.Context, n *node) []Finding {
	t := topic{"shim", n.Settings.Shim}
	c := n.shim
	switch {
	case unixsocket.Same(n.Settings.Shim, n.Settings.Runtime):
		return []Finding{t.fail("set the key shim to another path", "this is the runtime's own socket")}
	case n.isRunning() && n.shimStatus.Waiting != "":
		return []Finding{n.waitingFinding(t)}
	case n.servesFormerSocket():
		return []Finding{n.formerSocketFinding(t)}
	case c.dialErr != nil && n.isRunning():
		return []Finding{dialFinding(t, c.dialErr, "shim", "restart the running shim, whose socket was removed: `systemctl restart image-cri-shim`")}
	case n.units.restartsAgain() && !n.isRunning() && !c.answers():
		return []Finding{n.restartFinding(t)}
	case c.dialErr != nil && n.runtime.dialErr != nil && !errors.Is(n.runtime.dialErr, fs.ErrPermission):
		return []Finding{dialFinding(t, c.dialErr, "shim", "start the runtime first, because the shim waits for it; then "+startHint)}
	case c.dialErr != nil:
		return []Finding{dialFinding(t, c.dialErr, "shim", startHint)}
	case !c.answers() && errors.Is(n.shimStatusErr, admin.ErrNotRunning):
		return []Finding{t.fail(startHint, "the socket accepts connections, which systemd may do, but no shim answers: %v", c.callErr)}
	case !c.answers() && !n.runtime.answers():
		return []Finding{t.ok("live, but the runtime behind it does not answer")}
	case !c.answers():
		return []Finding{t.fail(restartHint, "the socket accepts connections, but calls fail: %v", c.callErr)}
	case n.runtime.answers() && c.name() != n.runtime.name():
		return []Finding{t.fail("set the key shim to a path that no runtime serves, then "+restartHint, "calls through the shim reach %s, but the runtime at cri is %s", c.name(), n.runtime.name())}
	case n.runtime.isCRIO() && !strings.HasSuffix(n.Settings.Shim, "run/crio/crio.sock"):
		return []Finding{t.warn("set the key shim to a path that ends in run/crio/crio.sock", "kubelet collects CRI-O's statistics only from a socket whose path ends in run/crio/crio.sock")}
	}
	return []Finding{n.socketModeFinding(t)}
}

// isRunning reports whether a shim answers on the admin socket.
func (n *node) isRunning() bool { return n.shimStatusErr == nil }

// servesFormerSocket reports whether the running shim serves another socket than the file names,
// because shim was changed without a restart.
func (n *node) servesFormerSocket() bool {
	return n.isRunning() && slices.Contains(n.shimStatus.Restart, "shim")
}

// formerSocketFinding is the finding if the shim serves its former socket.
func (n *node) formerSocketFinding(t topic) Finding {
	hint := restartHint
	switch {
	case n.units.usesSocketUnit():
		hint = listenHint(n.Settings.Shim)
	case n.units.socket == nil:
		hint += "; with image-cri-shim.socket instead " + listenHint(n.Settings.Shim)
	}
	text := strings.TrimSpace("the shim still serves its former socket "+n.shimStatus.Shim) + "; a restart changes it to " + n.Settings.Shim
	f := t.fail(hint+"; then point the clients at it: run the doctor again, which names them", "%s", text)
	f.consequence = text
	return f
}

// waitingFinding is the finding if the running shim does not serve before it has reached
// its runtime.
func (n *node) waitingFinding(t topic) Finding {
	const text = "the shim runs, but serves no calls before its runtime answers: it waits for %s"
	waiting := n.shimStatus.Waiting
	switch {
	case slices.Contains(n.shimStatus.Restart, "cri"):
		return t.fail(restartHint, text+", because cri was changed without a restart", waiting)
	case n.runtime.answers():
		return t.fail("wait a few seconds, then run the doctor again; `journalctl -u image-cri-shim` shows the cause if the failure persists", text, waiting)
	}
	return t.fail("see the finding about the runtime; the shim needs no restart", text+" (%s)", waiting, n.runtime.problem())
}

// socketModeFinding compares the permissions of the shim's socket with those of the
// runtime's.
func (n *node) socketModeFinding(t topic) Finding {
	shim, err := os.Stat(n.Settings.Shim)
	if err != nil {
		return t.fail(restartHint, "%v", err)
	}
	mode := shim.Mode().Perm()
	runtime, err := os.Stat(n.Settings.Runtime)
	if err == nil && mode&^runtime.Mode().Perm() != 0 {
		return t.warn(fmt.Sprintf("`chmod %04o %s`, without a restart", runtime.Mode().Perm(), n.Settings.Shim), "live, but open to more users (mode %04o) than the runtime's socket (mode %04o)", mode, runtime.Mode().Perm())
	}
	return t.ok("live, mode %04o", mode)
}

// ShimStatus is [explain.ShimStatus].
type ShimStatus = explain.ShimStatus

// checkRunningShim reports whether the running shim uses this configuration file.
func checkRunningShim(ctx context.Context, n *node) []Finding {
	t := topic{"running shim", n.Admin}
	switch err := n.shimStatusErr; {
	case errors.Is(err, syscall.ENOTDIR):
		return nil // reported by checkStateDirectory
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "this user has no permission to query the shim")}
	case errors.Is(err, admin.ErrUntrustedPeer):
		return []Finding{t.warn("if the shim runs as that user, run the doctor as that user; otherwise remove the socket, then "+restartHint, "%v", err)}
	case errors.Is(err, admin.ErrNotRunning) && !n.shim.answers():
		return nil // reported by checkShimSocket
	case errors.Is(err, admin.ErrNotRunning) && n.lacksAdminSocket(ctx):
		return nil // reported by checkStateDirectory
	case errors.Is(err, admin.ErrNotRunning):
		return []Finding{t.fail("set the key image in this file to the state directory of the shim that serves "+n.Settings.Shim+"; `ss -lxp | grep "+n.Settings.Shim+"` shows the process, and `journalctl -u image-cri-shim` its errors",
			"no shim answers on this socket, although a process serves %s", n.Settings.Shim)}
	case err != nil:
		return []Finding{t.warn(restartHint, "querying the running shim failed: %v", err)}
	}
	return []Finding{n.shimStatusFinding(t, n.shimStatus)}
}

// getShimStatus requests the running shim's status.
func (n *node) getShimStatus(ctx context.Context) (s ShimStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err = admin.Get(ctx, n.Admin, admin.AboutPath, nil, &s)
	return s, err
}

// refusedText begins the finding on a file that the running shim refused.
const refusedText = "the shim refused this file"

func (n *node) shimStatusFinding(t topic, running ShimStatus) Finding {
	here, err := os.Stat(n.File)
	if err != nil {
		return t.fail(rootHint, "%v", err)
	}
	there, err := os.Stat(running.File)
	// shim and cri are reported by checkShimSocket if they have failed.
	keys := slices.DeleteFunc(slices.Clone(running.Restart), func(key string) bool {
		return key == "shim" || key == "cri" && running.Waiting != ""
	})
	switch {
	case err != nil || !os.SameFile(here, there):
		return t.fail(fmt.Sprintf("`image-cri-shim doctor --file %s` examines the running shim; to run it with %s, set --file in the ExecStart= of its unit", running.File, absolute(n.File)), "the shim runs with another file, %s", running.File)
	case running.Refused != "":
		hint := "correct the cause; the shim loads the file again within reloadInterval, without a restart"
		if strings.Contains(running.Refused, syscall.ENOENT.Error()) {
			hint += "; if the missing file exists, the packaged service can't see it: it has a /tmp of its own, and no /root and /home"
		}
		return t.fail(hint,
			refusedText+": %s; the last good configuration, read at %s, stays in force", running.Refused, running.Read.Local().Format(time.DateTime))
	case here.ModTime().After(running.Read):
		return t.warn("run the doctor again in a few seconds; if the warning persists, `journalctl -u image-cri-shim` shows why the shim did not load the file", "the file has changed since the shim read it")
	case n.keepsFormerRuntime():
		return t.ok("runs with its former cri until it is restarted")
	case len(keys) > 0:
		return t.warn(restartHint, "the shim runs with the former values of these keys until it is restarted: %s", strings.Join(keys, ", "))
	case running.Version != n.Version:
		return t.warn(restartHint, "the shim has version %s, but this program has version %s", running.Version, n.Version)
	}
	if len(running.Restart) > 0 {
		return t.ok("runs with its former values of %s until it is restarted", strings.Join(running.Restart, ", "))
	}
	return t.ok("has this configuration, version %s", running.Version)
}

// absolute returns a path as it can be used in a unit.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
