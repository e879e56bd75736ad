package naming

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
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// name gives an image the names that a pull by the requested name would have created, and waits
// until the CRI shows them. added are the registry's names that they replace.
func (p *Pull) name(ctx context.Context, image string) (added []string, err error) {
	done, err := p.gate.exclude(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("wait for the calls that use the image: %w", err)
	}
	defer done()
	pulled, err := p.runtime.ImageStatus(ctx, image)
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
	if err := p.dropFromLedger(bindings); err != nil {
		p.warn(err)
	}
	wanted := bindings[0]
	seen, err := p.awaitView(ctx, pulled.Id, func(_ string, names []string) bool {
		missing := slices.DeleteFunc(slices.Clone(bindings), func(b binding) bool { return slices.Contains(names, b.name) })
		if len(missing) != 1 || missing[0] != wanted {
			return len(missing) == 0
		}
		// A newer pull may have moved the requested name to another image.
		current, err := p.images.Get(ctx, wanted.name)
		return err == nil && !sameTarget(current, wanted.from)
	})
	if err == nil && !seen {
		err = fmt.Errorf("the runtime does not show %s after %v", wanted.name, viewTimeout)
	}
	return added, err
}

// bindings returns the names that the image gets, the requested name first, and the registry's
// names that they replace.
func (p *Pull) bindings(ctx context.Context, image *runtime.Image) (bindings []binding, added []string, err error) {
	tag, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil {
		return nil, nil, err
	}
	original := imagename.Repository(p.pull.Original)
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
	// A newer pull may have moved the registry's tag. The requested name then gets the image
	// that this pull has stored.
	from := byDigest[tag.GetTarget().GetDigest()]
	switch {
	case from != nil:
	case tag != nil && imagename.Has(image, p.pull.Reference) && !p.isNew(brought):
		from = tag // the image was loaded, or its pull was interrupted before the digest was stored
	case len(byDigest) == 0:
		return nil, nil, nil
	default:
		from = slices.MaxFunc(slices.Collect(maps.Values(byDigest)), func(a, b *containerd.Record) int {
			return a.GetUpdatedAt().AsTime().Compare(b.GetUpdatedAt().AsTime())
		})
	}
	return append([]binding{{p.pull.Original, from}}, bindings...), append(added, p.pull.Reference), nil
}

// broughtDigests returns the digest records that the pull has added to an image. It returns
// the record with the target of the registry's tag or, if the tag has moved to another image,
// the records that did not exist before the pull. If the pull added none, it returns all.
func (p *Pull) broughtDigests(ctx context.Context, image *runtime.Image, tag *containerd.Record) (brought []*containerd.Record, err error) {
	var others []*containerd.Record
	for _, name := range imagename.Digests(image, p.repository) {
		record, err := p.images.Get(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case record == nil:
		case tag != nil && sameTarget(record, tag):
			return []*containerd.Record{record}, nil
		case p.state != nil && !p.gate.isKept(p.state, record):
			brought = append(brought, record)
		default:
			others = append(others, record)
		}
	}
	if len(brought) == 0 {
		return others, nil // the tag has moved to another image
	}
	return brought, nil
}

// isNew reports whether the pull has added one of the records. In that case the CRI may still
// show the registry's tag on the image although a newer pull has just moved the tag.
func (p *Pull) isNew(records []*containerd.Record) bool {
	return p.state != nil && slices.ContainsFunc(records, func(record *containerd.Record) bool { return !p.gate.isKept(p.state, record) })
}

// errRemoved reports that an image was removed before it had its names.
var errRemoved = errors.New("the image was removed meanwhile")

// binding is a name to create, and the record to copy the target and labels from.
type binding struct {
	name string
	from *containerd.Record
}

// viewTimeout limits the wait until the CRI shows a change. The CRI handles events of the
// images service in order, so events of other clients may delay it.
const viewTimeout = 5 * time.Second

// awaitView waits until wanted accepts the ID and names that the CRI shows for reference. It
// reports false if that did not happen within viewTimeout.
func (n *Namer) awaitView(ctx context.Context, reference string, wanted func(id string, names []string) bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		image, err := n.runtime.ImageStatus(ctx, reference)
		switch {
		case err == nil && wanted(image.GetId(), slices.Concat(image.GetRepoTags(), image.GetRepoDigests())):
			return true, nil
		case err != nil && ctx.Err() == nil:
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(pause):
		}
	}
}

// NamePreloaded gives the requested name to an image that was found under a registry's name. The
// registry's name stays.
func (n *Namer) NamePreloaded(ctx context.Context, origin ledger.Origin, image string) error {
	p := n.newPull(origin)
	ctx, cancel := cri.Detached(ctx, nameTimeout)
	defer cancel()
	if _, err := p.name(ctx, image); err != nil {
		return fmt.Errorf("could not add the name %s to the preloaded image %s: %w", origin.Original, origin.Stored, err)
	}
	n.inform(fmt.Sprintf("added the name %s to the preloaded image %s", origin.Original, origin.Stored))
	return nil
}
