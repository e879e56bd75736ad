package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"image-cri-shim/rewrite/naming"
	"image-cri-shim/rewrite/statedir"
)

// Limits of free space in the file system of the state directory, in bytes. The ledger
// takes a few hundred bytes for each name, and twice as much while it is written.
const (
	freeFailed = 1 << 20
	freeWarned = 64 << 20
)

// checkStateDirectory reports whether the shim can store its state.
func checkStateDirectory(_ context.Context, n *node) []Finding {
	directory := n.Settings.StateDirectory
	t := topic{"state", directory}
	info, err := os.Stat(directory)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "this user has no access to the directory")}
	case errors.Is(err, fs.ErrNotExist) && n.shim.dialErr != nil:
		return []Finding{t.ok("the shim creates the directory when it starts")}
	case errors.Is(err, syscall.ENOTDIR), err == nil && !info.IsDir():
		return []Finding{t.fail("remove the file, or set the key image to another path", "the path is not a directory; as a result, %s", n.stateLossRisk())}
	case err != nil:
		return []Finding{t.fail("create the directory, then "+restartHint, "%v", err)}
	}
	if exposed := n.exposed(); exposed != nil {
		return []Finding{t.fail(n.repairHint(exposed.Remedy), "%s; the shim neither reads nor writes pulls.json and ledger.json there; as a result, %s", exposed.Problem, n.stateLossRisk())}
	}
	if user, mode := ownerOf(info), info.Mode().Perm(); user != 0 && mode&0o700 != 0o700 { // root needs no mode
		return []Finding{t.fail(n.repairHint("chmod u+rwx "+directory), "the shim's user %d has not all rights to the directory (mode %04o); as a result, %s", user, mode, n.stateLossRisk())}
	}
	err = unix.Access(directory, unix.W_OK)
	if err == nil && n.isReadOnlyForService() {
		return []Finding{t.fail("add ReadWritePaths="+directory+" below [Service]: `systemctl edit image-cri-shim`, then "+restartHint,
			"the directory is read-only for the service image-cri-shim; as a result, %s", n.stateLossRisk())}
	}
	if err != nil {
		if os.Geteuid() != 0 && !errors.Is(err, unix.EROFS) {
			return []Finding{t.warn(rootHint, "this user may not write to the directory")}
		}
		return []Finding{t.fail("make the directory writable, or set the key image to another path", "the directory is not writable: %v", err)}
	}
	return []Finding{n.diskSpaceFinding(t)}
}

// isReadOnlyForService reports whether the unit of the shim makes the directory read-only, as
// ProtectSystem= does.
func (n *node) isReadOnlyForService() bool {
	process := n.units.service["MainPID"]
	if process == "" || process == "0" {
		return false
	}
	return errors.Is(unix.Access(filepath.Join("/proc", process, "root", n.Settings.StateDirectory), unix.W_OK), unix.EROFS)
}

// lacksAdminSocket reports whether the shim can't create its admin socket in the state directory.
// It can in one with wrong owners, and a directory that does not exist may be that of no shim.
func (n *node) lacksAdminSocket(ctx context.Context) bool {
	_, missing := os.Stat(n.Settings.StateDirectory)
	return missing == nil && n.exposed() == nil && slices.ContainsFunc(checkStateDirectory(ctx, n), func(f Finding) bool { return f.Level == Fail })
}

// exposed returns the permission error because of which the shim does not use its state
// directory, or nil. The owner of the admin socket is taken for the shim's user or, without
// a socket, the owner of the directory.
func (n *node) exposed() *statedir.PermissionError {
	for _, path := range []string{n.Admin, n.Settings.StateDirectory} {
		if info, err := os.Stat(path); err == nil {
			exposed, _ := errors.AsType[*statedir.PermissionError](statedir.Check(n.Settings.StateDirectory, ownerOf(info)))
			return exposed
		}
	}
	return nil
}

// ownerOf returns the user that owns a file.
func ownerOf(info fs.FileInfo) int {
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(system.Uid)
	}
	return 0
}

// repairHint returns the remedy for wrong permissions. A shim that has read its ledger at the
// start retries to save it, and needs no restart.
func (n *node) repairHint(command string) string {
	hint := "`" + command + "`"
	if n.isRunning() && n.shimStatus.Unread == "" {
		return hint + "; the shim then saves its state without a restart"
	}
	return hint + ", then " + restartHint
}

// stateLossRisk describes the consequence of a state directory that is not writable.
func (n *node) stateLossRisk() string {
	if n.shimStatus.Names.Mode == string(naming.InRuntime) {
		return "a pull interrupted by a crash may leave an image with a registry's name, and names that the runtime refuses are lost when the shim restarts"
	}
	return "names of images are lost when the shim restarts"
}

func (n *node) diskSpaceFinding(t topic) Finding {
	var disk unix.Statfs_t
	if err := unix.Statfs(t.subject, &disk); err != nil {
		return t.warn("check the disk", "the directory's file system can't be checked: %v", err)
	}
	const hint = "free space on the disk; df shows how much is left"
	switch free := disk.Bavail * uint64(disk.Bsize); {
	case free < freeFailed:
		return t.fail(hint, "the disk is full (%d KiB free); as a result, %s", free>>10, n.stateLossRisk())
	case disk.Files > 0 && disk.Ffree == 0:
		return t.fail("remove files on the disk; df -i shows the inodes", "the disk has no free inodes; as a result, %s", n.stateLossRisk())
	case free < freeWarned:
		return t.warn(hint, "the disk is nearly full (%d MiB free)", free>>20)
	default:
		return t.ok("writable, %d MiB free", free>>20)
	}
}
