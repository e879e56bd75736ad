package doctor

import (
	"cmp"
	"context"
	"errors"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/rewrite"
)

// names says where the names of pulled images are kept, and why.
func names(ctx context.Context, n *node) []Finding {
	if !n.runtime.answers() {
		return nil // another check says so
	}
	running, isRunning := n.running, n.notAsked == nil
	if !isRunning {
		if !errors.Is(n.notAsked, admin.ErrNotRunning) {
			return nil // another check says so
		}
		ledger, _ := rewrite.ReadLedger(n.Settings.StateDirectory) // a check of its own says what is wrong with it
		running = Running{Names: explain.NamingOf(n.Explainer.Namer.Probe(ctx)), Ledger: ledger.Names()}
	}
	t := topic{"names", n.Settings.Runtime}
	switch rewrite.NamingMode(running.Names.Mode) {
	case rewrite.NamesInRuntime:
		return []Finding{t.inRuntime(running, isRunning)}
	case rewrite.NamesInLedger:
		return []Finding{n.inLedger(t, running)}
	default:
		return []Finding{t.warn("start the runtime, then run the doctor again", "where names of pulled images are kept is not known: %s",
			cmp.Or(running.Names.Reason, "the shim is of a version that does not say"))}
	}
}

// inRuntime is the finding where the runtime keeps the names.
func (t topic) inRuntime(running Running, isRunning bool) Finding {
	switch {
	case running.Ledger == 0:
		return t.ok("kept by the runtime: %s", running.Names.Reason)
	case !isRunning:
		return t.warn(start+"; it gives these images their names in the runtime", "kept by the runtime, but %d are in the ledger of a shim that does not run", running.Ledger)
	default:
		return t.warn("wait a minute, then run the doctor again; if they stay, journalctl -u image-cri-shim says why",
			"kept by the runtime, but %d are still in the ledger and wait to be given there", running.Ledger)
	}
}

// inLedger is the finding where the shim keeps the names.
func (n *node) inLedger(t topic, running Running) Finding {
	switch {
	case n.Settings.Names == config.NamesLedger && n.runtime.isContainerd():
		return t.ok("kept in the shim's ledger, as names: ledger says; with names: auto containerd can keep them")
	case n.runtime.isContainerd():
		return t.warn("let containerd serve its images service on this socket (disabled_plugins must not have io.containerd.grpc.v1.images), or set names: ledger",
			"kept in the shim's ledger, although containerd can keep them: %s", running.Names.Reason)
	default:
		return t.ok("kept in the shim's ledger: %s", running.Names.Reason)
	}
}
