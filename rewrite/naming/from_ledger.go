package naming

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// nameLedger turns the names in the ledger into names in the runtime, image by image. It
// returns the first error.
func (n *Namer) nameLedger(ctx context.Context) (first error) {
	for _, image := range n.ledger.ImageIDs() {
		if err := n.nameLedgered(ctx, image); err != nil {
			first = cmp.Or(first, fmt.Errorf("image %s: %w", image, err))
			if ctx.Err() != nil || status.Code(err) == codes.Unavailable {
				break
			}
		}
	}
	return first
}

// nameLedgered gives an image the names that the ledger has for it, and deletes the
// registry's names that are hidden on it. It does nothing while a pull of one of these
// names' repositories is under way.
func (n *Namer) nameLedgered(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	asked := time.Now()
	image, err := n.runtime.ImageStatus(ctx, id)
	if err != nil {
		return err
	}
	if image == nil {
		return n.ledger.ForgetImage(id, asked)
	}
	claimed := n.repositoriesOf(image)
	if !n.gate.beginDeletion(claimed...) {
		return nil // the last of the pulls does it
	}
	defer n.gate.endDeletion(claimed...)
	done, err := n.gate.exclude(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	waiting := len(n.ledger.NamesOf(id))
	if err := n.nameEntries(ctx, id); err != nil {
		return err
	}
	if image, err = n.runtime.ImageStatus(ctx, id); err != nil {
		return err
	}
	hidden := slices.DeleteFunc(n.hiddenNames(image), func(name string) bool { return !slices.Contains(claimed, imagename.Repository(name)) })
	if len(hidden) < len(image.GetRepoTags())+len(image.GetRepoDigests()) { // it does not lose its last name
		gone, err := n.deleteHidden(ctx, image, hidden, claimed)
		if err != nil {
			return err
		}
		if err := n.awaitDeleted(ctx, gone, id); err != nil {
			return err
		}
	}
	if err := n.forgetNamed(ctx, id, claimed); err != nil {
		return err
	}
	if left := len(n.ledger.NamesOf(id)); left < waiting {
		n.inform(fmt.Sprintf("the runtime has got %d names of image %s that the ledger had kept, %d are left", waiting-left, id, left))
	}
	return nil
}

// repositoriesOf returns the repositories of the registries that an image in the ledger was
// pulled from, and those of its names that are hidden.
func (n *Namer) repositoriesOf(image *runtime.Image) []string {
	repositories := make(map[string]struct{})
	for _, e := range n.ledger.NamesOf(image.GetId()) {
		repositories[imagename.Repository(e.Stored)] = struct{}{}
	}
	for _, name := range slices.Concat(image.GetRepoTags(), image.GetRepoDigests()) {
		if n.ledger.IsHidden(name, image.GetId()) {
			repositories[imagename.Repository(name)] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(repositories))
}

// deleteHidden deletes hidden names of an image, which are in some repositories, and
// returns those that have gone from it.
func (n *Namer) deleteHidden(ctx context.Context, image *runtime.Image, hidden, repositories []string) (gone []string, err error) {
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
		record := stays[name]
		if record == nil || !leadsTo(record, image) {
			gone = append(gone, name) // CRI has not seen it yet
			continue
		}
		needed, err := n.isNeeded(ctx, record)
		if err != nil {
			return nil, err
		}
		if !needed {
			doomed = append(doomed, record)
			delete(stays, name)
		}
	}
	deleted, err := n.deleteAll(ctx, doomed, stays, func(name string) { n.recordLedgerDeletion(image.GetId(), name) })
	return append(gone, deleted...), err
}

// isHidden reports whether clients do not see a name on an image: it is hidden and was not
// asked for by itself.
func (n *Namer) isHidden(name, image string) bool {
	own, asked := n.ledger.Lookup(name)
	return n.ledger.IsHidden(name, image) && !(asked && own.Image == image)
}

// hiddenNames returns the names of an image that clients do not see.
func (n *Namer) hiddenNames(image *runtime.Image) []string {
	return slices.DeleteFunc(slices.Concat(image.GetRepoTags(), image.GetRepoDigests()), func(name string) bool {
		return !n.isHidden(name, image.GetId())
	})
}

// nameEntries gives an image the names that the ledger has for it. The caller has
// excluded the calls that use the image.
func (n *Namer) nameEntries(ctx context.Context, id string) error {
	entries := n.ledger.NamesOf(id)
	if len(entries) == 0 {
		return nil
	}
	image, err := n.runtime.ImageStatus(ctx, id)
	if err != nil || image == nil {
		return err
	}
	var bindings []binding
	var obsolete []ledger.Entry
	for _, e := range entries {
		if !n.ledger.IsStillOn(e, image) || imagename.Has(image, e.Original) {
			continue
		}
		newer, err := n.isNewer(ctx, e)
		if err != nil {
			return err
		}
		if newer {
			obsolete = append(obsolete, e)
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
	if err := n.ledger.Apply(ledger.RemoveMoved(obsolete...)); err != nil || len(bindings) == 0 {
		return err
	}
	if err := n.put(ctx, image, bindings); err != nil {
		if errors.Is(err, errRemoved) {
			return nil
		}
		return err
	}
	last := bindings[len(bindings)-1].name
	seen, err := n.awaitView(ctx, id, func(id string, names []string) bool { return id == "" || slices.Contains(names, last) })
	if err == nil && !seen {
		err = fmt.Errorf("the runtime does not show %s after %v", last, viewTimeout)
	}
	return err
}

// isNewer reports whether the runtime has an image under an entry's original that has come
// after the entry: the ledger does not hide it.
func (n *Namer) isNewer(ctx context.Context, e ledger.Entry) (bool, error) {
	image, err := n.runtime.ImageStatus(ctx, e.Original)
	return image != nil && image.Id != e.Image && !n.ledger.IsHidden(e.Original, image.Id), err
}

// recordFor returns a record of the image that an entry of the ledger can get its
// target from; nil if there is none.
func (n *Namer) recordFor(ctx context.Context, e ledger.Entry, image *runtime.Image) (*containerd.Record, error) {
	if imagename.Has(image, e.Stored) {
		if record, err := n.images.Get(ctx, e.Stored); err != nil || leadsTo(record, image) {
			return record, err
		}
	}
	if _, digest, ok := strings.Cut(e.Original, "@"); ok {
		for _, name := range image.GetRepoDigests() {
			if strings.HasSuffix(name, "@"+digest) {
				return n.images.Get(ctx, name)
			}
		}
		return nil, nil
	}
	for _, name := range imagename.Digests(image, imagename.Repository(e.Stored)) {
		return n.images.Get(ctx, name)
	}
	return n.images.Get(ctx, image.GetId())
}

// leadsTo reports whether a record has the target of one of an image's names. CRI may not
// have seen yet that the record has moved to another image.
func leadsTo(record *containerd.Record, image *runtime.Image) bool {
	digest := "@" + record.GetTarget().GetDigest()
	return record != nil && slices.ContainsFunc(image.GetRepoDigests(), func(name string) bool { return strings.HasSuffix(name, digest) })
}

// forgetNamed drops the names of an image from the ledger that the runtime has itself, and
// the hidden references of repositories that are settled.
func (n *Namer) forgetNamed(ctx context.Context, id string, settled []string) error {
	entries := n.ledger.NamesOf(id)
	if len(entries) == 0 && !n.ledger.HidesAny(id) {
		return nil
	}
	asked := time.Now()
	image, err := n.runtime.ImageStatus(ctx, id)
	if err != nil {
		return err
	}
	if image == nil {
		return n.ledger.ForgetImage(id, asked)
	}
	var named []string
	for _, e := range entries {
		if imagename.Has(image, e.Original) || !n.ledger.IsStillOn(e, image) {
			named = append(named, e.Original)
		}
	}
	return n.ledger.Settle(image, named, settled)
}
