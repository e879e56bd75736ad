package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
	"image-cri-shim/rewrite/statedir"
)

// checkLedger reports whether the ledger can be read, and whether it has the names that the
// running shim has.
func checkLedger(_ context.Context, n *node) []Finding {
	t := topic{"ledger", filepath.Join(n.Settings.StateDirectory, "ledger.json")}
	if info, err := os.Stat(n.Settings.StateDirectory); errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		return nil // reported by checkStateDirectory
	}
	if n.exposed() != nil {
		return nil // reported by checkStateDirectory
	}
	info, err := os.Lstat(t.subject)
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{n.missingLedgerFinding(t)}
	}
	stored, err := ledger.Read(n.Settings.StateDirectory)
	exposed, ok := errors.AsType[*statedir.PermissionError](err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "this user may not read the file")}
	case ok:
		return []Finding{t.fail(n.repairHint(exposed.Remedy), "%s; the shim neither reads the ledger nor saves names in it", exposed.Problem)}
	case err != nil:
		return []Finding{t.warn("repair the file or move it away, then "+restartHint+"; afterwards, images pulled before are pulled again when a client requests them, and preloaded images are found", "%v", err)}
	}
	if user, mode := ownerOf(info), info.Mode().Perm(); user != 0 && mode&0o400 == 0 { // root needs no mode
		return []Finding{t.fail(n.repairHint("chmod u+rw "+t.subject), "the shim's user %d may not read the file (mode %04o)", user, mode)}
	}
	// A file that was written after the request may have other names than the answer.
	if running := n.shimStatus.Ledger; n.shimStatusErr == nil && running != stored.Len() && info.ModTime().Before(n.shimStatusAt) {
		return []Finding{t.warn("run the doctor again; if the warning persists, `journalctl -u image-cri-shim` shows why the shim does not save the names",
			"the file has %d names, but the running shim has %d, which are lost when it restarts", stored.Len(), running)}
	}
	return []Finding{t.ok("readable, names: %d", stored.Len())}
}

// missingLedgerFinding is the finding for a ledger that does not exist.
func (n *node) missingLedgerFinding(t topic) Finding {
	damaged := t.subject + ".damaged"
	_, err := os.Lstat(damaged)
	names := n.registryNames()
	switch {
	case n.shimStatusErr == nil && n.shimStatus.Ledger > 0:
		return t.warn("find out what removed the file; the shim writes it with all names at the next pull of another image, so do not restart the shim before",
			"the file does not exist, but the running shim has %d names, which are lost when it restarts", n.shimStatus.Ledger)
	case err == nil:
		return t.warn("repair the damaged file, rename it to ledger.json, then "+restartHint+"; or remove it: images pulled before are then pulled again when a client requests them",
			"the file was damaged, and the shim renamed it to %s: the names of images pulled before are unknown", damaged)
	case len(names) > 0 && n.keepsNames():
		return t.warn("if these images were pulled through the shim, restore the ledger from a backup, then "+restartHint+"; otherwise the warning ends when the shim has pulled an image",
			"the file does not exist, but the node has %s with the name of a registry, such as %s: clients may not find them by the names that they ask for", countImages(len(names)), names[0])
	}
	return t.ok("the file does not exist yet: no name had to be stored in it")
}

// keepsNames reports whether the running shim keeps the names of images in the ledger.
func (n *node) keepsNames() bool {
	return n.shimStatusErr == nil && n.shimStatus.Names.Mode == string(naming.InLedger)
}

// registryNames returns the names of images on the node that are on a private registry's
// own host, except that of the sandbox image, which the runtime pulls itself.
func (n *node) registryNames() (names []string) {
	isPrivateHost := func(r registry.RuleResult) bool {
		return r.OwnHost && !n.configured(registry.Probe{Registry: r.Registry}).OwnHostOnly()
	}
	for _, image := range n.images.lookups {
		if image.Image != n.sandboxName() && slices.ContainsFunc(image.Rules, isPrivateHost) {
			names = append(names, image.Image)
		}
	}
	return names
}
