package doctor

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// checkNames reports whether the runtime or the shim keeps the names of pulled images, and
// why.
func checkNames(ctx context.Context, n *node) []Finding {
	if !n.runtime.answers() {
		return nil // reported by checkRuntime
	}
	running, isRunning := n.shimStatus, n.shimStatusErr == nil
	if !isRunning {
		if !errors.Is(n.shimStatusErr, admin.ErrNotRunning) {
			return nil // reported by checkRunningShim
		}
		ledger, _ := ledger.Read(n.Settings.StateDirectory) // errors are reported by checkLedger
		running = ShimStatus{Names: explain.NamingOf(n.Explainer.Namer.Probe(ctx), 0), Ledger: ledger.Len()}
	}
	t := topic{"names", n.Settings.Runtime}
	switch naming.Mode(running.Names.Mode) {
	case naming.InRuntime:
		return []Finding{t.runtimeNamesFinding(running, isRunning)}
	case naming.InLedger:
		return []Finding{n.ledgerNamesFinding(t, running)}
	default:
		return []Finding{t.warn("wait a few seconds, then run the doctor again; `journalctl -u image-cri-shim` shows the cause if the warning persists", "the doctor can't determine whether the runtime or the shim keeps the names of pulled images: %s",
			cmp.Or(running.Names.Reason, "the running shim does not report this"))}
	}
}

// runtimeNamesFinding is the finding if the runtime keeps the names.
func (t topic) runtimeNamesFinding(running ShimStatus, isRunning bool) Finding {
	const wait = "wait a minute, then run the doctor again; if the warning persists, see `journalctl -u image-cri-shim`"
	switch {
	case running.Names.Repairs > 0:
		return t.warn(wait, "kept by the runtime, but names from some repositories (%d) could not be changed there; the shim retries, and until a retry succeeds, other clients see the registries' names", running.Names.Repairs)
	case running.Ledger == 0:
		return t.ok("kept by the runtime: %s", running.Names.Reason)
	case !isRunning:
		return t.warn(startHint+"; the shim then gives these images their names in the runtime", "kept by the runtime, except for names in the ledger of the stopped shim: %d", running.Ledger)
	default:
		return t.warn(wait, "kept by the runtime, except for names that are still only in the ledger: %d", running.Ledger)
	}
}

// ledgerNamesFinding is the finding if the shim keeps the names.
func (n *node) ledgerNamesFinding(t topic, running ShimStatus) Finding {
	switch {
	case n.Settings.Names == config.NamesAuto && slices.Contains(running.Restart, "names"):
		return t.warn(restartHint+"; containerd can then keep the names", "kept in the shim's ledger, because the shim started with names: ledger; the file now says names: auto")
	case n.Settings.Names == config.NamesLedger && n.runtime.isContainerd():
		return t.ok("kept in the shim's ledger because of names: ledger; with names: auto containerd can keep them")
	case n.runtime.isContainerd():
		return t.warn("enable containerd's images service on this socket (remove io.containerd.grpc.v1.images from disabled_plugins; the shim notices this within 30 s), or set names: ledger, then "+restartHint,
			"kept in the shim's ledger, although containerd can keep them: %s", running.Names.Reason)
	default:
		return t.ok("kept in the shim's ledger: %s", running.Names.Reason)
	}
}
