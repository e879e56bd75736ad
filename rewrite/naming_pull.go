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
		n.leave(ctx, p.repository)
		if ends(err) {
			return nil, err
		}
		return nil, nil
	}
	n.gate.announce(p.state, pull)
	if err := n.journal.set(p.repository, n.gate.journaled(p.state)); err != nil {
		n.warn(fmt.Errorf("note a pull of %s, whose naming would not survive a crash: %w", pull.Original, err))
	}
	n.tasks.start(ctx, func(ctx context.Context) { n.sandbox.names(ctx, n) }) // while the runtime pulls
	return p, nil
}

// list notes which names of the repository stay.
func (p *pullNaming) list(ctx context.Context) error {
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
			hidden = p.ledger.isHidden(record.GetName(), image.GetId())
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

// succeed names the image that the pull has brought. If that fails the image keeps
// the registry's names, and the error says why. If the image was removed meanwhile, what
// the pull has left of it goes too.
func (p *pullNaming) succeed(ctx context.Context, image string) error {
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
	if err := p.put(ctx, pulled.Id, bindings); err != nil {
		return nil, err
	}
	if err := p.forgetMoved(bindings); err != nil {
		p.warn(err)
	}
	wanted := bindings[0]
	seen, err := p.awaitView(ctx, wanted.name, func(id string, _ []string) bool { return id == pulled.Id })
	if err == nil && !seen {
		// A newer pull may have moved the name on.
		var current *containerd.Record
		current, err = p.images.Get(ctx, wanted.name)
		seen = current.GetTarget().GetDigest() != wanted.from.GetTarget().GetDigest()
	}
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
	for _, name := range digestsOf(image, p.repository) {
		record, err := p.images.Get(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if record == nil {
			continue
		}
		digest := record.GetTarget().GetDigest()
		byDigest[digest] = record
		bindings = append(bindings, binding{original + "@" + digest, record})
		added = append(added, name)
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
		ctx, cancel := context.WithTimeout(ctx, namingTimeout)
		defer cancel()
		defer p.end(ctx)
		if err := p.nameLate(ctx, grace); err != nil {
			p.warn(fmt.Errorf("name what a failed pull of %s has left: %w", p.pull.Original, err))
		}
	})
}

// nameLate names what a pull that was cut off has left. The runtime may go on with the
// pull for a while, so that the image is there in part until it has ended. containerd
// stores the digest of a tag last.
func (p *pullNaming) nameLate(ctx context.Context, grace time.Duration) error {
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

// nameStored names the image under the pull's reference if a pull for another name has
// put it there, and returns it; nil if there is none.
func (p *pullNaming) nameStored(ctx context.Context) (*runtime.Image, error) {
	record, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || record == nil || p.gate.isKept(p.state, record) {
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
		moved.Unname = append(moved.Unname, b.name)
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
	p.remember(ctx, p.pull, p.image)
	if !p.gate.isOpen(p.repository) { // the last pull has ended meanwhile
		if err := p.forgetNamed(ctx, p.image); err != nil {
			p.warn(err)
		}
	}
}

// leave ends a pull from a repository. It reports whether it was the last one.
func (n *Namer) leave(ctx context.Context, repository string) bool {
	state, last := n.gate.leave(repository)
	if !last {
		return false
	}
	defer n.gate.release(repository)
	if len(state.added) > 0 {
		if err := n.settle(ctx, repository, state); err != nil {
			n.warn(fmt.Errorf("delete the names that pulls from %s have left, which is tried again: %w", repository, err))
			for _, pull := range state.named {
				n.rememberStored(ctx, pull)
			}
		}
	}
	if err := n.journal.drop(repository); err != nil {
		n.warn(fmt.Errorf("note the end of the pulls from %s: %w", repository, err))
	}
	return true
}

// remember has the ledger restore the names of an image that the runtime has under a
// registry's name.
func (n *Namer) remember(ctx context.Context, pull journaledPull, id string) {
	image, err := n.runtime.status(ctx, id)
	if err == nil && image != nil {
		err = n.ledger.apply(n.pulledAs(pull, image))
		n.again()
	}
	if err != nil {
		n.warn(fmt.Errorf("note that %s was pulled as %s: %w", pull.Original, pull.Reference, err))
	}
}

// rememberStored is remember for the image that the runtime has under a pull's
// reference.
func (n *Namer) rememberStored(ctx context.Context, pull journaledPull) {
	image, err := n.runtime.status(ctx, pull.Reference)
	if err != nil {
		n.warn(fmt.Errorf("look at %s after it was pulled as %s: %w", pull.Original, pull.Reference, err))
	}
	if image != nil {
		n.remember(ctx, pull, image.Id)
	}
}

// pulledAs is the change that a pull makes to the ledger.
func (n *Namer) pulledAs(pull journaledPull, image *runtime.Image) change {
	noted := change{Name: namesFrom(pull.Original, Candidate{Registry: pull.Registry, Reference: pull.Reference}, image, false)}
	for _, name := range append(digestsOf(image, repository(pull.Reference)), pull.Reference) {
		if n.gate.stays(name) {
			noted.Ask = append(noted.Ask, pair{Reference: name, Image: image.Id})
		}
	}
	return noted
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
	}
	records, err := n.images.List(ctx, repositoryFilter(repository))
	if err != nil {
		return err
	}
	gone, err := n.restoreRecords(ctx, records, state)
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := n.awaitGone(ctx, image, gone); err != nil {
			return err
		}
		if err := n.forgetNamed(ctx, image); err != nil {
			return err
		}
	}
	return nil
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
		if record == nil || kept != nil && sameTarget(kept, record) {
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
				continue
			}
		}
		if !n.mustStay(ctx, record) {
			doomed = append(doomed, record)
		}
	}
	for _, record := range doomed {
		delete(byName, record.GetName())
	}
	return n.deleteAll(ctx, doomed, byName)
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

// mustStay reports whether the runtime itself needs a name.
func (n *Namer) mustStay(ctx context.Context, record *containerd.Record) bool {
	return isPinned(record) || slices.Contains(n.sandbox.names(ctx, n), record.GetName())
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

// awaitGone waits until CRI does not show deleted names on an image any more.
func (n *Namer) awaitGone(ctx context.Context, image string, names []string) error {
	seen, err := n.awaitView(ctx, image, func(_ string, shown []string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(shown, name) })
	})
	if err == nil && !seen {
		n.warn(fmt.Errorf("the runtime still shows deleted names of %s after %v", image, viewTimeout))
	}
	return err
}

// enterOwn begins a pull by an image's own name. It returns nil, and has no effect,
// where the runtime keeps no names.
func (n *Namer) enterOwn(ctx context.Context, name reference.Named) (end func(pulled bool), err error) {
	if n == nil || !n.inRuntime() {
		return func(bool) {}, nil
	}
	in := repository(name.String())
	state, err := n.gate.enter(ctx, in)
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return func(pulled bool) {
		ctx, cancel := detached(ctx)
		defer cancel()
		if pulled {
			if err := n.keepOwn(ctx, state, name.String()); err != nil {
				n.warn(fmt.Errorf("look at %s after its pull: %w", name, err))
			}
		}
		n.leave(ctx, in)
	}, nil
}

// keepOwn notes that the records of a name stay.
func (n *Namer) keepOwn(ctx context.Context, state *repositoryPulls, name string) error {
	if !n.gate.isListed(state) {
		return nil
	}
	record, err := n.images.Get(ctx, name)
	if err != nil || record == nil {
		return err
	}
	digest, err := n.images.Get(ctx, repository(name)+"@"+record.GetTarget().GetDigest())
	if err != nil {
		return err
	}
	n.gate.keep(state, record)
	if digest != nil {
		n.gate.keep(state, digest)
	}
	return nil
}
