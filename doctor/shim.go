package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/admin"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

const (
	startHint   = "start the shim: systemctl start image-cri-shim; journalctl -u image-cri-shim shows why it stopped"
	restartHint = "restart the shim: systemctl restart image-cri-shim"
)

// checkShimSocket reports whether clients reach the runtime through the shim.
func checkShimSocket(_ context.Context, n *node) []Finding {
	t := topic{"shim", n.Settings.Shim}
	c := n.shim
	switch {
	case unixsocket.Same(n.Settings.Shim, n.Settings.Runtime):
		return []Finding{t.fail("set the key shim to another path", "this is the runtime's own socket")}
	case c.dialErr != nil:
		return []Finding{dialFinding(t, c.dialErr, "shim", startHint)}
	case !c.answers() && !n.runtime.answers() && status.Code(c.callErr) == codes.Unavailable:
		return []Finding{t.ok("live, but the runtime behind it does not answer")}
	case !c.answers():
		return []Finding{t.fail(restartHint, "the socket accepts connections, but calls fail: %v", c.callErr)}
	case n.runtime.answers() && c.name() != n.runtime.name():
		return []Finding{t.fail("check that the key shim is not set to another runtime's socket, then "+restartHint, "calls through the shim reach %s, but the runtime at cri is %s", c.name(), n.runtime.name())}
	case n.runtime.isCRIO() && !strings.HasSuffix(n.Settings.Shim, "run/crio/crio.sock"):
		return []Finding{t.warn("set the key shim to a path that ends in run/crio/crio.sock", "kubelet collects CRI-O's statistics only from a socket whose path ends in run/crio/crio.sock")}
	}
	return []Finding{n.socketModeFinding(t)}
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
		return t.warn(restartHint+"; the shim then gives the socket the runtime's mode", "live, but open to more users (mode %04o) than the runtime's socket (mode %04o)", mode, runtime.Mode().Perm())
	}
	return t.ok("live, mode %04o", mode)
}

// ShimStatus is [explain.ShimStatus].
type ShimStatus = explain.ShimStatus

// checkRunningShim reports whether the running shim uses this configuration file.
func checkRunningShim(_ context.Context, n *node) []Finding {
	if n.shim.dialErr != nil {
		return nil // reported by checkShimSocket
	}
	t := topic{"running shim", n.Admin}
	switch err := n.shimStatusErr; {
	case errors.Is(err, syscall.ENOTDIR):
		return nil // reported by checkStateDirectory
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "this user has no permission to query the shim")}
	case errors.Is(err, admin.ErrUntrustedPeer):
		return []Finding{t.warn("if the shim runs as that user, run the doctor as that user; otherwise remove the socket, then "+restartHint, "%v", err)}
	case errors.Is(err, admin.ErrNotRunning):
		return []Finding{t.fail("find the process that serves "+n.Settings.Shim+" (ss -lxp); if it is the shim, see journalctl -u image-cri-shim, and check that the key image in this file is the shim's state directory",
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

func (n *node) shimStatusFinding(t topic, running ShimStatus) Finding {
	here, err := os.Stat(n.File)
	if err != nil {
		return t.fail(rootHint, "%v", err)
	}
	there, err := os.Stat(running.File)
	switch {
	case err != nil || !os.SameFile(here, there):
		return t.fail(fmt.Sprintf("run the doctor with --file %s, or start the shim with %s", running.File, n.File), "the shim runs with another file, %s", running.File)
	case here.ModTime().After(running.Read):
		return t.warn("run the doctor again in a few seconds; if the warning persists, journalctl -u image-cri-shim shows why the shim did not load the file", "the file has changed since the shim read it")
	case len(running.Restart) > 0:
		return t.warn(restartHint, "the shim runs with the former values of these keys until it is restarted: %s", strings.Join(running.Restart, ", "))
	case running.Version != n.Version:
		return t.warn(restartHint, "the shim has version %s, but this program has version %s", running.Version, n.Version)
	}
	return t.ok("has this configuration, version %s", running.Version)
}
