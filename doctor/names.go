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

// checkNames reports where the names of pulled images are kept, and why.
func checkNames(ctx context.Context, n *node) []Finding {
	if !n.runtime.answers() {
		return nil // another check says so
	}
	running, isRunning := n.shimStatus, n.shimStatusErr == nil
	if !isRunning {
		if !errors.Is(n.shimStatusErr, admin.ErrNotRunning) {
			return nil // another check says so
		}
		ledger, _ := ledger.Read(n.Settings.StateDirectory) // a check of its own says what is wrong with it
		running = ShimStatus{Names: explain.NamingOf(n.Explainer.Namer.Probe(ctx), 0), Ledger: ledger.Len()}
	}
	t := topic{"names", n.Settings.Runtime}
	switch naming.Mode(running.Names.Mode) {
	case naming.InRuntime:
		return []Finding{t.runtimeNamesFinding(running, isRunning)}
	case naming.InLedger:
		return []Finding{n.ledgerNamesFinding(t, running)}
	default:
		return []Finding{t.warn("start the runtime, then run the doctor again", "where names of pulled images are kept is not known: %s",
			cmp.Or(running.Names.Reason, "the shim is of a version that does not say"))}
	}
}

// runtimeNamesFinding is the finding if the runtime keeps the names.
func (t topic) runtimeNamesFinding(running ShimStatus, isRunning bool) Finding {
	const wait = "wait a minute, then run the doctor again; if it stays so, journalctl -u image-cri-shim says why"
	switch {
	case running.Names.Repairs > 0:
		return t.warn(wait, "kept by the runtime, but changing names there has failed and is retried, other clients see a registry's names of images: repositories: %d", running.Names.Repairs)
	case running.Ledger == 0:
		return t.ok("kept by the runtime: %s", running.Names.Reason)
	case !isRunning:
		return t.warn(startHint+"; it gives these images their names in the runtime", "kept by the runtime, but for names in the ledger of a shim that does not run: %d", running.Ledger)
	default:
		return t.warn(wait, "kept by the runtime, but for names that only the ledger has yet: %d", running.Ledger)
	}
}

// ledgerNamesFinding is the finding if the shim keeps the names.
func (n *node) ledgerNamesFinding(t topic, running ShimStatus) Finding {
	switch {
	case n.Settings.Names == config.NamesAuto && slices.Contains(running.Restart, "names"):
		return t.warn(restartHint+", which lets containerd keep them", "kept in the shim's ledger until the shim is restarted: %s, which the file no longer says", running.Names.Reason)
	case n.Settings.Names == config.NamesLedger && n.runtime.isContainerd():
		return t.ok("kept in the shim's ledger, as names: ledger says; with names: auto containerd can keep them")
	case n.runtime.isContainerd():
		return t.warn("let containerd serve its images service on this socket (disabled_plugins must not have io.containerd.grpc.v1.images), or set names: ledger, then "+restartHint+"; a service that is opened is noticed within 30 s",
			"kept in the shim's ledger, although containerd can keep them: %s", running.Names.Reason)
	default:
		return t.ok("kept in the shim's ledger: %s", running.Names.Reason)
	}
}
