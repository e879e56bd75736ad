package rewrite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
)

// Intervals of the work in the background.
const (
	namingRetry  = time.Second      // after the first failure, then doubled
	namingPeriod = 30 * time.Second // at most
)

// Run repairs what an earlier namer has left undone, and turns the names in the ledger
// into names in the runtime, until ctx is done. It asks the runtime again and again
// whether it keeps names: another one may have taken its place.
func (n *Namer) Run(ctx context.Context) {
	defer n.tasks.wait()
	for _, of := range n.resumed {
		n.tasks.start(ctx, func(ctx context.Context) { n.repair(ctx, of.repository, of.state) })
	}
	for pause := namingRetry; ; {
		n.Probe(ctx)
		if n.inRuntime() {
			if err := n.nameLedger(ctx); err != nil && ctx.Err() == nil {
				n.warn(fmt.Errorf("names stay in the ledger, trying again in %v: %w", pause, err))
			} else {
				pause = namingRetry
			}
		}
		wait := namingPeriod
		if n.inRuntime() && !n.ledger.empty() || n.Naming().Mode == NamesUnknown {
			wait, pause = pause, min(2*pause, namingPeriod)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.retry:
		case <-time.After(wait):
		}
	}
}

// again has [Namer.Run] look at the ledger soon.
func (n *Namer) again() {
	select {
	case n.retry <- struct{}{}:
	default:
	}
}

// resumedPulls are pulls from a repository that an earlier shim has begun.
type resumedPulls struct {
	repository string
	state      *repositoryPulls
}

// repair names the images of the pulls that an earlier shim has begun.
func (n *Namer) repair(ctx context.Context, name string, state *repositoryPulls) {
	for pause := namingRetry; ; pause = min(2*pause, namingPeriod) {
		err := n.nameStoredOf(ctx, name, state)
		if err == nil {
			n.leave(ctx, name)
			return
		}
		if ctx.Err() == nil {
			n.warn(fmt.Errorf("name the images of pulls from %s that were cut off, trying again in %v: %w", name, pause, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (n *Namer) nameStoredOf(ctx context.Context, name string, state *repositoryPulls) error {
	for _, pull := range state.named {
		p := &pullNaming{Namer: n, pull: pull, repository: name, state: state}
		if err := p.nameLate(ctx, cancelGrace); err != nil {
			return err
		}
	}
	return nil
}

// nameLedger turns the names in the ledger into names in the runtime, image by image.
func (n *Namer) nameLedger(ctx context.Context) (failed error) {
	for _, image := range n.ledger.imageIDs() {
		if err := n.nameLedgered(ctx, image); err != nil {
			failed = errors.Join(failed, fmt.Errorf("image %s: %w", image, err))
			if ctx.Err() != nil || ends(err) {
				break
			}
		}
	}
	return failed
}

// nameLedgered gives an image the names that the ledger has for it, and deletes the
// registry's names that are hidden on it. It does nothing while a pull of one of these
// names' repositories is under way.
func (n *Namer) nameLedgered(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	asked := time.Now()
	image, err := n.runtime.status(ctx, id)
	if err != nil {
		return err
	}
	if image == nil {
		return n.ledger.forget(id, asked)
	}
	hidden := n.hiddenNames(image)
	repositories := make(map[string]struct{})
	for _, name := range hidden {
		repositories[repository(name)] = struct{}{}
	}
	claimed := slices.Collect(maps.Keys(repositories))
	if !n.gate.claim(claimed...) {
		return nil // the last of the pulls does it
	}
	defer n.gate.release(claimed...)
	done, err := n.gate.exclude(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := n.nameEntries(ctx, id); err != nil {
		return err
	}
	gone, err := n.deleteHidden(ctx, hidden, claimed)
	if err != nil {
		return err
	}
	if err := n.awaitGone(ctx, id, gone); err != nil {
		return err
	}
	return n.forgetNamed(ctx, id)
}

// deleteHidden deletes hidden names, which are in some repositories, and returns those
// that are gone.
func (n *Namer) deleteHidden(ctx context.Context, hidden, repositories []string) (gone []string, err error) {
	stays := make(map[string]*containerd.Record)
	for _, name := range repositories {
		records, err := n.images.List(ctx, repositoryFilter(name))
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			stays[record.GetName()] = record
		}
	}
	var doomed []*containerd.Record
	for _, name := range hidden {
		if record := stays[name]; record != nil && !n.mustStay(ctx, record) {
			doomed = append(doomed, record)
			delete(stays, name)
		}
	}
	return n.deleteAll(ctx, doomed, stays)
}

// hiddenNames returns the names of an image that clients do not see.
func (n *Namer) hiddenNames(image *runtime.Image) []string {
	return slices.DeleteFunc(slices.Concat(image.GetRepoTags(), image.GetRepoDigests()), func(name string) bool {
		return !n.ledger.isHidden(name, image.GetId())
	})
}

// nameEntries gives an image the names that the ledger has for it. The caller has
// excluded the calls that use the image.
func (n *Namer) nameEntries(ctx context.Context, id string) error {
	entries := n.ledger.namesOf(id)
	if len(entries) == 0 {
		return nil
	}
	image, err := n.runtime.status(ctx, id)
	if err != nil || image == nil {
		return err
	}
	var bindings []binding
	for _, e := range entries {
		if !n.ledger.isStillOn(e, image) || hasName(image, e.Original) {
			continue
		}
		from, err := n.recordFor(ctx, e, image)
		if err != nil {
			return err
		}
		if from != nil {
			bindings = append(bindings, binding{e.Original, from})
		}
	}
	if len(bindings) == 0 {
		return nil
	}
	if err := n.put(ctx, id, bindings); err != nil && !errors.Is(err, errRemoved) {
		return err
	}
	last := bindings[len(bindings)-1].name
	seen, err := n.awaitView(ctx, id, func(_ string, names []string) bool { return slices.Contains(names, last) })
	if err == nil && !seen {
		err = fmt.Errorf("the runtime does not show %s after %v", last, viewTimeout)
	}
	return err
}

// recordFor returns a record of the image that an entry of the ledger can get its
// target from; nil if there is none.
func (n *Namer) recordFor(ctx context.Context, e entry, image *runtime.Image) (*containerd.Record, error) {
	if hasName(image, e.Stored) {
		return n.images.Get(ctx, e.Stored)
	}
	if _, digest, ok := strings.Cut(e.Original, "@"); ok {
		for _, name := range image.GetRepoDigests() {
			if strings.HasSuffix(name, "@"+digest) {
				return n.images.Get(ctx, name)
			}
		}
		return nil, nil
	}
	for _, name := range digestsOf(image, repository(e.Stored)) {
		return n.images.Get(ctx, name)
	}
	return n.images.Get(ctx, image.GetId())
}

// forgetNamed drops the names of an image from the ledger that the runtime has itself, and
// the hidden references that are not needed for the others.
func (n *Namer) forgetNamed(ctx context.Context, id string) error {
	entries := n.ledger.namesOf(id)
	if len(entries) == 0 && !n.ledger.hidesAny(id) {
		return nil
	}
	asked := time.Now()
	image, err := n.runtime.status(ctx, id)
	if err != nil {
		return err
	}
	if image == nil {
		return n.ledger.forget(id, asked)
	}
	var named []string
	for _, e := range entries {
		if hasName(image, e.Original) {
			named = append(named, e.Original)
		}
	}
	return n.ledger.settle(image, named)
}
