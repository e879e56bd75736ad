package rewrite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
)

// pullNaming is the naming of one pull from a registry.
type pullNaming struct {
	*Namer
	pull       journaledPull
	repository string // of the registry's reference
	state      *repositoryPulls
	image      string // the ID of the image that was named; empty before
}

// begin prepares the naming of a pull: it notes the names that the registry's
// repository has in the runtime, since these stay. It returns nil if the runtime keeps
// no names. Every other result needs a call of end.
func (n *Namer) begin(ctx context.Context, pull journaledPull) (*pullNaming, error) {
	if n == nil {
		return nil, nil
	}
	p := &pullNaming{Namer: n, pull: pull, repository: repository(pull.Reference)}
	var err error
	if p.state, err = n.gate.enter(ctx, p.repository); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	err = p.list(ctx)
	n.note(err)
	if err != nil {
		n.leave(context.WithoutCancel(ctx), p.repository)
		if ctx.Err() != nil || status.Code(err) == codes.Unavailable {
			return nil, err
		}
		n.again() // asks whether the runtime keeps names
		return nil, nil
	}
	n.gate.announce(p.state, pull)
	if err := n.saveState(p.repository, p.state); err != nil {
		n.warn(fmt.Errorf("could not note the pull of %s, whose image keeps the registry's name if the shim is killed now: %w", pull.Original, err))
	}
	n.tasks.start(ctx, func(ctx context.Context) { _, _ = n.sandbox.names(ctx, n) }) // while the runtime pulls
	return p, nil
}

// saveState saves what the journal has to hold of a repository now.
func (n *Namer) saveState(repository string, state *repositoryPulls) error {
	return n.journal.set(repository, func() journaledRepository { return n.gate.journaled(state) })
}

// list notes which names of the repository stay, unless that is known already.
func (p *pullNaming) list(ctx context.Context) error {
	if p.gate.isListed(p.state) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	records, err := p.images.List(ctx, repositoryFilter(p.repository))
	if err != nil {
		return err
	}
	kept := make(map[string]*containerd.Record, len(records))
	for _, record := range records {
		hidden := false
		if !p.ledger.empty() {
			image, err := p.runtime.status(ctx, record.GetName())
			if err != nil {
				return err
			}
			hidden = p.isHidden(record.GetName(), image.GetId())
		}
		if !hidden {
			kept[record.GetName()] = record
		}
	}
	p.gate.list(p.state, kept)
	return nil
}

// repositoryFilter selects the records of a repository (containerd, pkg/filters).
func repositoryFilter(repository string) string {
	return "name~=" + strconv.Quote("^"+regexp.QuoteMeta(repository)+"[:@]")
}

// pulled names the image that the pull has brought, and ends the pull. If that fails the
// image keeps the registry's names for now and the ledger restores the asked ones. If the
// runtime can't be asked for that either, the image is named later. It returns where the
// names are kept, nothing if the image was removed meanwhile.
func (p *pullNaming) pulled(ctx context.Context, image string) NamingMode {
	ctx = context.WithoutCancel(ctx)
	defer p.end(ctx)
	err := p.succeed(ctx, image)
	switch {
	case err == nil:
		p.gate.finish(p.state, p.pull)
		return NamesInRuntime
	case errors.Is(err, errRemoved):
		p.gate.finish(p.state, p.pull)
		return ""
	}
	p.warn(fmt.Errorf("could not give %s its name in the runtime, it keeps the name %s for now: %w", p.pull.Original, p.pull.Reference, err))
	if err := p.remember(ctx, image); err != nil {
		p.warn(err)
		p.postpone(true)
	}
	return NamesInLedger
}

// postpone leaves it to [Namer.repair] to name the image of the pull.
func (p *pullNaming) postpone(succeeded bool) {
	p.gate.postpone(p.state, p.pull, succeeded)
	if err := p.saveState(p.repository, p.state); err != nil {
		p.warn(fmt.Errorf("could not note that %s lacks its name: %w", p.pull.Original, err))
	}
}

// succeed names the image that the pull has brought. If that fails the image keeps
// the registry's names, and the error says why. If the image was removed meanwhile, what
// the pull has left of it goes too.
func (p *pullNaming) succeed(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	err := p.nameAdded(ctx, image)
	if errors.Is(err, errRemoved) {
		return errors.Join(err, p.addLeftovers(ctx, image))
	}
	return err
}

// nameAdded names an image, and notes which names the last pull from the repository
// deletes.
func (p *pullNaming) nameAdded(ctx context.Context, image string) error {
	added, err := p.name(ctx, image)
	if err != nil {
		return err
	}
	p.image = image
	p.gate.add(p.state, image, added...)
	return nil
}

// addLeftovers notes the names of a removed image that the runtime still has: containerd
// stores the names of a pull one after the other, while RemoveImage deletes those that it
// has seen.
func (p *pullNaming) addLeftovers(ctx context.Context, image string) error {
	records, err := p.images.List(ctx, repositoryFilter(p.repository))
	if err != nil {
		return err
	}
	for _, record := range records {
		if p.gate.isKept(p.state, record) {
			continue
		}
		shown, err := p.runtime.status(ctx, record.GetName())
		if err != nil {
			return err
		}
		if shown == nil || shown.Id == image {
			p.gate.add(p.state, shown.GetId(), record.GetName())
		}
	}
	return nil
}

// name gives an image the names that a pull by the asked name would have given it, and
// returns once the runtime shows them. It returns the registry's names that they stand
// for.
func (p *pullNaming) name(ctx context.Context, image string) (added []string, err error) {
	done, err := p.gate.exclude(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("wait for the calls that use the image: %w", err)
	}
	defer done()
	pulled, err := p.runtime.status(ctx, image)
	if err != nil {
		return nil, err
	}
	if pulled == nil {
		return nil, errRemoved
	}
	bindings, added, err := p.bindings(ctx, pulled)
	if err != nil {
		return nil, err
	}
	if len(bindings) == 0 {
		return nil, errRemoved
	}
	if err := p.put(ctx, pulled, bindings); err != nil {
		return nil, err
	}
	if err := p.forgetMoved(bindings); err != nil {
		p.warn(err)
	}
	wanted := bindings[0]
	seen, err := p.awaitView(ctx, pulled.Id, func(_ string, names []string) bool {
		missing := slices.DeleteFunc(slices.Clone(bindings), func(b binding) bool { return slices.Contains(names, b.name) })
		if len(missing) != 1 || missing[0] != wanted {
			return len(missing) == 0
		}
		// A newer pull may have moved the asked name on.
		current, err := p.images.Get(ctx, wanted.name)
		return err == nil && !sameTarget(current, wanted.from)
	})
	if err == nil && !seen {
		err = fmt.Errorf("the runtime does not show %s after %v", wanted.name, viewTimeout)
	}
	return added, err
}

// bindings returns the names that the image gets, the asked one first, and the
// registry's names that they replace.
func (p *pullNaming) bindings(ctx context.Context, image *runtime.Image) (bindings []binding, added []string, err error) {
	tag, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil {
		return nil, nil, err
	}
	original := repository(p.pull.Original)
	byDigest := make(map[string]*containerd.Record)
	brought, err := p.broughtDigests(ctx, image, tag)
	if err != nil {
		return nil, nil, err
	}
	for _, record := range brought {
		digest := record.GetTarget().GetDigest()
		byDigest[digest] = record
		bindings = append(bindings, binding{original + "@" + digest, record})
		added = append(added, record.GetName())
	}
	if strings.Contains(p.pull.Original, "@") {
		return bindings, added, nil
	}
	// A newer pull may have moved the registry's tag on: the asked one then gets the
	// image that this pull has brought.
	from := byDigest[tag.GetTarget().GetDigest()]
	switch {
	case from != nil:
	case tag != nil && hasName(image, p.pull.Reference):
		from = tag // the image was loaded, or its pull was cut off before the digest
	case len(byDigest) == 0:
		return nil, nil, nil
	default:
		from = slices.MaxFunc(slices.Collect(maps.Values(byDigest)), func(a, b *containerd.Record) int {
			return a.GetUpdatedAt().AsTime().Compare(b.GetUpdatedAt().AsTime())
		})
	}
	return append([]binding{{p.pull.Original, from}}, bindings...), append(added, p.pull.Reference), nil
}

// broughtDigests returns the records with a digest that an image has got by pulls for other
// names: the one that the registry's tag has too, and those that were not there before.
func (p *pullNaming) broughtDigests(ctx context.Context, image *runtime.Image, tag *containerd.Record) (brought []*containerd.Record, err error) {
	var others []*containerd.Record
	for _, name := range digestsOf(image, p.repository) {
		record, err := p.images.Get(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case record == nil:
		case tag != nil && sameTarget(record, tag), p.state != nil && !p.gate.isKept(p.state, record):
			brought = append(brought, record)
		default:
			others = append(others, record)
		}
	}
	if len(brought) == 0 {
		return others, nil // the tag has moved on to another image
	}
	return brought, nil
}

// cancelGrace is how long a runtime may go on with a pull after it was cancelled.
const cancelGrace = 3 * time.Second

// fail ends a pull that has failed with err. The runtime may have stored the image all
// the same: a pull that its client gives up at its very end.
func (p *pullNaming) fail(ctx context.Context, err error) {
	grace := time.Duration(0)
	if isOutOfTime(err) {
		grace = cancelGrace
	}
	p.tasks.start(ctx, func(ctx context.Context) {
		defer p.end(ctx)
		if err := p.nameLate(ctx, grace); err != nil {
			p.warn(fmt.Errorf("could not name what a failed pull of %s has left: %w", p.pull.Original, err))
			p.postpone(false)
		}
	})
}

// nameLate names what a pull that was cut off has left. The runtime may go on with the
// pull for a while, so that the image is there in part until it has ended. containerd
// stores the digest of a tag last.
func (p *pullNaming) nameLate(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	for begun := time.Now(); ; {
		image, err := p.nameStored(ctx)
		removed := errors.Is(err, errRemoved)
		if err != nil && !removed {
			return err
		}
		if image != nil && !removed && len(digestsOf(image, p.repository)) > 0 && !strings.Contains(p.pull.Original, "@") {
			return nil
		}
		if time.Since(begun) >= grace {
			if removed {
				return p.addLeftovers(ctx, image.GetId())
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(cancelGrace / 30):
		}
	}
}

// addNamed notes the registry's digests whose images have the asked repository's digests:
// a shim may have been killed between two deletions.
func (p *pullNaming) addNamed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	records, err := p.images.List(ctx, repositoryFilter(p.repository))
	if err != nil {
		return err
	}
	for _, record := range records {
		_, digest, digested := strings.Cut(record.GetName(), "@")
		if !digested || p.gate.isKept(p.state, record) {
			continue
		}
		named, err := p.images.Get(ctx, repository(p.pull.Original)+"@"+digest)
		if err != nil {
			return err
		}
		if named == nil {
			continue
		}
		image, err := p.runtime.status(ctx, named.GetName())
		if err != nil {
			return err
		}
		p.gate.add(p.state, image.GetId(), record.GetName())
	}
	return nil
}

// nameStored names the image under the pull's reference if a pull for another name has
// put it there, and returns it; nil if there is none.
func (p *pullNaming) nameStored(ctx context.Context) (*runtime.Image, error) {
	record, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || record == nil || p.gate.isKept(p.state, record) && !p.gate.succeeded(p.state, p.pull) {
		return nil, err
	}
	image, err := p.runtime.status(ctx, p.pull.Reference)
	if err != nil || image == nil {
		return nil, err
	}
	return image, p.nameAdded(ctx, image.Id)
}

// forgetMoved drops names from the ledger that an image has just got in the runtime. The
// ledger may have another image for them: that of an older pull whose registry's names
// are still there.
func (p *pullNaming) forgetMoved(bindings []binding) error {
	if p.ledger.empty() {
		return nil
	}
	var moved change
	for _, b := range bindings {
		if known, ok := p.ledger.lookup(b.name); ok {
			moved.add(unnameMoved(known))
		}
	}
	if err := p.ledger.apply(moved); err != nil {
		return fmt.Errorf("drop %s from the ledger: %w", bindings[0].name, err)
	}
	return nil
}

// end ends the pull. The last pull from the repository deletes the names that pulls for
// other names have added. Until then the ledger hides them.
func (p *pullNaming) end(ctx context.Context) {
	if p.leave(ctx, p.repository) || p.image == "" {
		return
	}
	if err := p.remember(ctx, p.image); err != nil {
		p.warn(err)
	}
}

// leave ends a pull from a repository. It reports whether it was the last one.
func (n *Namer) leave(ctx context.Context, repository string) bool {
	state, last := n.gate.leave(repository)
	if !last {
		return false
	}
	if err := n.finish(ctx, repository, state); err != nil {
		n.warn(err)
		n.gate.reopen(repository)
		n.tasks.start(ctx, func(ctx context.Context) { n.repair(ctx, repository, state) })
	}
	return true
}

// finish deletes the names that the pulls from a repository have added. If it fails, the
// repository needs a reopen: its state, and the journal, say what is to be done.
func (n *Namer) finish(ctx context.Context, repository string, state *repositoryPulls) error {
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	if late := n.gate.unfinished(state); len(late) > 0 {
		return fmt.Errorf("%d pulls from %s have left images without their names", len(late), repository)
	}
	if len(state.added) > 0 {
		if err := n.settle(ctx, repository, state); err != nil {
			return fmt.Errorf("could not delete the names that pulls from %s have left: %w", repository, err)
		}
	}
	n.journal.drop(repository)
	n.gate.release(repository)
	n.tasks.run(ctx, func(context.Context) { n.flushJournal() }) // the client need not wait
	return nil
}

// flushJournal has the journal forget the pulls whose images have their names. Until then
// they would be named once more after a crash.
func (n *Namer) flushJournal() {
	if err := n.journal.flush(); err != nil {
		n.warn(fmt.Errorf("could not note the end of pulls: %w", err))
	}
}

// remember has the ledger restore the names of an image that the runtime has under a
// registry's name.
func (p *pullNaming) remember(ctx context.Context, id string) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if err := p.record(ctx, id); err != nil {
		return fmt.Errorf("could not note that %s was pulled as %s: %w", p.pull.Original, p.pull.Reference, err)
	}
	p.again()
	return nil
}

// record makes the change to the ledger that a pull makes without a namer.
func (p *pullNaming) record(ctx context.Context, id string) error {
	image, err := p.runtime.status(ctx, id)
	if err != nil || image == nil {
		return err
	}
	noted := change{Name: namesFrom(p.pull.Original, Candidate{Registry: p.pull.Registry, Reference: p.pull.Reference}, image, false)}
	for _, name := range append(digestsOf(image, p.repository), p.pull.Reference) {
		if p.gate.wasOn(p.state, name, image) {
			noted.Ask = append(noted.Ask, pair{Reference: name, Image: image.Id})
		}
	}
	// The image that the runtime itself has under the name has lost it.
	old, err := p.runtime.status(ctx, p.pull.Original)
	if err != nil {
		return err
	}
	if old != nil && old.Id != image.Id {
		noted.Hide = append(noted.Hide, pair{Reference: p.pull.Original, Image: old.Id})
	}
	p.gate.restore(p.state, p.pull.Reference)
	return p.ledger.apply(noted)
}

// settle makes the records of a repository what they were before pulls for other
// names began, but for what was asked for by its own name meanwhile.
func (n *Namer) settle(ctx context.Context, repository string, state *repositoryPulls) error {
	images := slices.Sorted(maps.Keys(state.images))
	done, err := n.gate.exclude(ctx, images...)
	if err != nil {
		return fmt.Errorf("wait for the calls that use the images: %w", err)
	}
	defer done()
	for _, image := range images {
		if err := n.nameEntries(ctx, image); err != nil {
			return err
		}
		if err := n.addHidden(ctx, image, repository, state); err != nil {
			return err
		}
	}
	records, err := n.recordsOf(ctx, repository, state)
	if err != nil {
		return err
	}
	gone, err := n.restoreRecords(ctx, records, state)
	if err != nil {
		return err
	}
	if err := n.awaitGone(ctx, gone, images...); err != nil {
		return err
	}
	for _, image := range images {
		if err := n.forgetNamed(ctx, image, []string{repository}); err != nil {
			return err
		}
	}
	return nil
}

// addHidden notes the names of an image in a repository that the ledger hides: a pull whose
// naming has failed has left them.
func (n *Namer) addHidden(ctx context.Context, image, from string, state *repositoryPulls) error {
	if n.ledger.empty() {
		return nil
	}
	found, err := n.runtime.status(ctx, image)
	if err != nil {
		return err
	}
	for _, name := range n.hiddenNames(found) {
		if repository(name) == from {
			n.gate.add(state, image, name)
		}
	}
	return nil
}

// recordsOf returns the records that the end of the pulls from a repository depends on: those
// that the pulls have added, and those that their images have beside them in the repository.
// To list the repository, containerd would read the records of all images.
func (n *Namer) recordsOf(ctx context.Context, in string, state *repositoryPulls) (records []*containerd.Record, err error) {
	names := maps.Clone(state.added)
	for name := range state.added {
		if kept := state.kept[name]; kept.GetTarget() != nil {
			names[in+"@"+kept.GetTarget().GetDigest()] = struct{}{}
		}
	}
	for image := range state.images {
		shown, err := n.runtime.status(ctx, image)
		if err != nil {
			return nil, err
		}
		for _, tag := range shown.GetRepoTags() {
			if repository(tag) == in {
				names[tag] = struct{}{}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		record, err := n.images.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		if record != nil {
			records = append(records, record)
		}
	}
	return records, nil
}

// restoreRecords deletes the names that pulls have added, and gives the names that
// they have moved what these had before. It returns the deleted names.
func (n *Namer) restoreRecords(ctx context.Context, records []*containerd.Record, state *repositoryPulls) (gone []string, err error) {
	byName := make(map[string]*containerd.Record, len(records))
	for _, record := range records {
		byName[record.GetName()] = record
	}
	var doomed []*containerd.Record
	for _, name := range slices.Sorted(maps.Keys(state.added)) {
		record, kept := byName[name], state.kept[name]
		if record == nil {
			gone = append(gone, name) // CRI may not have seen it yet
			continue
		}
		if kept != nil && (sameTarget(kept, record) || kept.GetTarget() == nil) {
			continue
		}
		if kept != nil {
			if present, err := n.images.HasContent(ctx, kept); err != nil {
				return nil, err
			} else if present {
				if err := n.images.Put(ctx, kept); err != nil {
					return nil, fmt.Errorf("give %s back what it named: %w", name, err)
				}
				byName[name] = kept
				if err := n.awaitBack(ctx, kept, byName); err != nil {
					return nil, err
				}
				continue
			}
		}
		stays, err := n.mustStay(ctx, record)
		if err != nil {
			return nil, err
		}
		if !stays {
			doomed = append(doomed, record)
		}
	}
	for _, record := range doomed {
		delete(byName, record.GetName())
	}
	for name := range state.kept { // their digests are among the kept names, if they had any
		delete(byName, name)
	}
	deleted, err := n.deleteAll(ctx, doomed, byName)
	return append(gone, deleted...), err
}

// deleteAll deletes records of repositories, but for digests that came with a tag that
// stays. It returns the deleted names.
func (n *Namer) deleteAll(ctx context.Context, doomed []*containerd.Record, stays map[string]*containerd.Record) (gone []string, err error) {
	for _, record := range doomed {
		if belongsToTag(record, stays) {
			continue
		}
		if err := n.images.Delete(ctx, record); err != nil {
			return nil, fmt.Errorf("delete the name %s: %w", record.GetName(), err)
		}
		gone = append(gone, record.GetName())
	}
	return gone, nil
}

// awaitBack waits until CRI shows a name on the image that it has got back.
func (n *Namer) awaitBack(ctx context.Context, kept *containerd.Record, byName map[string]*containerd.Record) error {
	digest := repository(kept.GetName()) + "@" + kept.GetTarget().GetDigest()
	if byName[digest] == nil {
		return nil // the image can't be told by it
	}
	_, err := n.awaitView(ctx, kept.GetName(), func(_ string, names []string) bool { return slices.Contains(names, digest) })
	return err
}

// mustStay reports whether the runtime itself needs a name.
func (n *Namer) mustStay(ctx context.Context, record *containerd.Record) (bool, error) {
	sandbox, err := n.sandbox.names(ctx, n)
	return isPinned(record) || slices.Contains(sandbox, record.GetName()), err
}

// belongsToTag reports whether a record with a digest came with a tag that stays.
func belongsToTag(record *containerd.Record, stays map[string]*containerd.Record) bool {
	if !strings.Contains(record.GetName(), "@") {
		return false
	}
	for name, other := range stays {
		if !strings.Contains(name, "@") && repository(name) == repository(record.GetName()) && sameTarget(other, record) {
			return true
		}
	}
	return false
}

func sameTarget(a, b *containerd.Record) bool {
	return a.GetTarget().GetDigest() == b.GetTarget().GetDigest()
}

// awaitGone waits until CRI does not show deleted names on images any more.
func (n *Namer) awaitGone(ctx context.Context, names []string, images ...string) error {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	for _, image := range images {
		seen, err := n.awaitView(ctx, image, func(_ string, shown []string) bool {
			return !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(shown, name) })
		})
		if err != nil {
			return err
		}
		if !seen {
			return fmt.Errorf("the runtime still shows deleted names of %s after %v", image, viewTimeout)
		}
	}
	return nil
}

// enterOwn begins a pull by an image's own name. It returns nil, and has no effect,
// where the runtime keeps no names.
func (n *Namer) enterOwn(ctx context.Context, name reference.Named) (end func(pulled bool), err error) {
	if n == nil || n.Naming().Mode == NamesInLedger && n.idle() {
		return func(bool) {}, nil
	}
	in := repository(name.String())
	state, err := n.gate.enter(ctx, in)
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return func(pulled bool) {
		ctx := context.WithoutCancel(ctx)
		if pulled && !n.gate.isAlone(state) {
			n.keepOwn(ctx, state, name.String())
		}
		n.flushJournal() // an earlier pull of the name for another one is not repaired any more
		n.leave(ctx, in)
	}, nil
}

// keepOwn notes that the records of a name stay.
func (n *Namer) keepOwn(ctx context.Context, state *repositoryPulls, name string) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	records, err := n.ownRecords(ctx, name)
	if err != nil {
		n.warn(fmt.Errorf("could not look at %s after its pull: %w", name, err))
		records = []*containerd.Record{{Name: name}} // stays, whatever it is
	}
	n.gate.keep(state, records...)
	if !n.gate.isListed(state) {
		return // no pull for another name has begun
	}
	if err := n.saveState(repository(name), state); err != nil {
		n.warn(fmt.Errorf("could not note that %s was asked for, which is forgotten if the shim is killed now: %w", name, err))
	}
}

// ownRecords returns the records of a name and of its digest.
func (n *Namer) ownRecords(ctx context.Context, name string) (records []*containerd.Record, err error) {
	record, err := n.images.Get(ctx, name)
	if err != nil || record == nil {
		return nil, err
	}
	digest, err := n.images.Get(ctx, repository(name)+"@"+record.GetTarget().GetDigest())
	if err != nil || digest == nil {
		return []*containerd.Record{record}, err
	}
	return []*containerd.Record{record, digest}, nil
}
