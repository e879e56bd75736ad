package naming

import (
	"context"
	"fmt"
	"time"
)

// Intervals of the work in the background.
const (
	firstRetry = time.Second      // after the first failure, then doubled
	lastRetry  = 30 * time.Second // at most
)

// Run repairs what an earlier namer has left undone, and turns the names in the ledger
// into names in the runtime, until ctx is done. It asks the runtime again and again
// whether it keeps names: another one may have taken its place.
func (n *Namer) Run(ctx context.Context) {
	defer n.tasks.wait()
	for _, of := range n.resumed {
		n.tasks.start(ctx, func(ctx context.Context) { n.repair(ctx, of.repository, of.state) })
	}
	for pause := firstRetry; ; {
		n.Probe(ctx)
		if n.InRuntime() && n.ledger.MayRestore() {
			if err := n.nameLedger(ctx); err != nil && ctx.Err() == nil {
				n.warn(fmt.Errorf("could not give all images their names in the runtime, the ledger keeps them, trying again in %v: %w", pause, err))
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

// triggerRun makes [Namer.Run] look at the ledger soon.
func (n *Namer) triggerRun() {
	select {
	case n.trigger <- struct{}{}:
	default:
	}
}

// resumedPulls are pulls from a repository that an earlier shim has begun.
type resumedPulls struct {
	repository string
	state      *repositoryPulls
}

// repair names the images of unfinished pulls from a repository, and ends one pull from it.
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
				n.inform(fmt.Sprintf("repaired the names of images from %s: %d pulls had been cut off or not named", repository, len(state.pulls)))
				return
			}
			n.gate.reopen(repository)
		}
		if ctx.Err() == nil {
			n.warn(fmt.Errorf("could not repair the names of images from %s, trying again in %v: %w", repository, pause, err))
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
