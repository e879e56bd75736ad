package naming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// nameEntries gives an image the names that the ledger has for it. The caller must have
// called gate.exclude for the image.
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

// isNewer reports whether the runtime has another image under an entry's original that is
// newer than the entry, because the ledger does not hide it.
func (n *Namer) isNewer(ctx context.Context, e ledger.Entry) (bool, error) {
	image, err := n.runtime.ImageStatus(ctx, e.Original)
	return image != nil && image.Id != e.Image && !n.ledger.IsHidden(e.Original, image.Id), err
}

// recordFor returns a record of the image with a target that is suitable for an entry of the
// ledger, or nil if there is none.
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

// leadsTo reports whether the target of a record is one of an image's digests. The CRI may
// still show the record's name on an image after the record has moved to another one.
func leadsTo(record *containerd.Record, image *runtime.Image) bool {
	digest := "@" + record.GetTarget().GetDigest()
	return record != nil && slices.ContainsFunc(image.GetRepoDigests(), func(name string) bool { return strings.HasSuffix(name, digest) })
}

// forgetNamed drops the names of an image from the ledger that the runtime has itself. It also
// drops the hidden references in settled, the repositories in which names are final.
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
