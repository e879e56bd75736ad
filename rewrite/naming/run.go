package naming

import (
	"context"
	"fmt"
	"time"
)

// Backoff of the work in the background, which is also the interval of the probes.
const (
	firstRetry = time.Second      // doubled after each failure
	lastRetry  = 30 * time.Second // maximum
)

// Run works in the background until ctx is done. It repairs the pulls that an earlier shim
// has not finished, and moves the names in the ledger into the runtime. It probes the runtime
// regularly, because another runtime may serve the socket later.
func (n *Namer) Run(ctx context.Context) {
	defer n.tasks.wait()
	for _, of := range n.resumed {
		n.tasks.start(ctx, func(ctx context.Context) { n.repair(ctx, of.repository, of.state) })
	}
	for pause := firstRetry; ; {
		n.Probe(ctx)
		if n.InRuntime() && n.ledger.MayRestore() {
			if err := n.nameLedger(ctx); err != nil && ctx.Err() == nil {
				n.warn(fmt.Errorf("could not move all names from the ledger into the runtime, retrying in %v: %w", pause, err))
			}
		}
		wait := pause
		if n.InRuntime() && n.ledger.MayRestore() || n.Status().Mode == Unknown {
			pause = min(2*pause, lastRetry)
		} else {
			wait, pause = lastRetry, firstRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-n.trigger:
		case <-time.After(wait):
		}
	}
}

// triggerRun makes [Namer.Run] probe the runtime and process the ledger now.
func (n *Namer) triggerRun() {
	select {
	case n.trigger <- struct{}{}:
	default:
	}
}

// resumedPulls are the pulls from a repository that an earlier shim has not finished.
type resumedPulls struct {
	repository string
	state      *repositoryPulls
}

// repair names the images of unfinished pulls from a repository, and then ends one pull from
// it. It retries until it succeeds or ctx is done.
func (n *Namer) repair(ctx context.Context, repository string, state *repositoryPulls) {
	failed := false
	defer func() {
		if failed {
			n.repairs.Add(-1)
		}
	}()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := n.nameUnfinished(ctx, repository, state)
		if err == nil {
			if _, last := n.gate.endPull(repository); !last {
				return
			}
			if err = n.finish(ctx, repository, state); err == nil {
				n.inform(fmt.Sprintf("repaired the names of images from %s after %d pulls that left images without their names", repository, len(state.pulls)))
				return
			}
			n.gate.reopen(repository)
		}
		if ctx.Err() == nil {
			n.warn(fmt.Errorf("could not repair the names of images from %s, retrying in %v: %w", repository, pause, err))
		}
		if !failed {
			failed = true
			n.repairs.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (n *Namer) nameUnfinished(ctx context.Context, repository string, state *repositoryPulls) error {
	for _, pull := range n.gate.unfinished(state) {
		p := &Pull{Namer: n, pull: pull, repository: repository, state: state}
		if err := p.nameInterrupted(ctx, cancelGrace); err != nil {
			return err
		}
		if err := p.addNamed(ctx); err != nil {
			return err
		}
		n.gate.finish(state, pull)
	}
	return nil
}
