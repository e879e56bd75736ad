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

// name gives an image the names that a pull by the asked name would have given it, and
// returns once the runtime shows them. It returns the registry's names that they stand
// for.
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
	// A newer pull may have moved the registry's tag on: the asked one then gets the
	// image that this pull has brought.
	from := byDigest[tag.GetTarget().GetDigest()]
	switch {
	case from != nil:
	case tag != nil && imagename.Has(image, p.pull.Reference) && !p.isNew(brought):
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

// broughtDigests returns the records with a digest that an image has got by the pull: the
// one that the registry's tag has too or, if the tag has moved on, those that were not there
// before.
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
		return others, nil // the tag has moved on to another image
	}
	return brought, nil
}

// isNew reports whether the pull has brought one of the records. CRI may then show the
// registry's tag on the image although a newer pull has just moved it on.
func (p *Pull) isNew(records []*containerd.Record) bool {
	return p.state != nil && slices.ContainsFunc(records, func(record *containerd.Record) bool { return !p.gate.isKept(p.state, record) })
}

// errRemoved says that an image has been removed while it was being named.
var errRemoved = errors.New("the image was removed meanwhile")

// binding is a name that an image is to get, and a record of the image that has the
// target and the labels for it.
type binding struct {
	name string
	from *containerd.Record
}

// viewTimeout bounds the wait for CRI to show what was changed. CRI takes events in
// order, and each may be delayed by those of other clients.
const viewTimeout = 5 * time.Second

// awaitView waits until CRI shows an image as wanted. It reports false if it did not
// in time.
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

// NamePreloaded gives an image that was found under a registry's reference the name that was
// asked for. The registry's name stays.
func (n *Namer) NamePreloaded(ctx context.Context, origin ledger.Origin, image string) error {
	p := n.newPull(origin)
	ctx, cancel := cri.Detached(ctx, nameTimeout)
	defer cancel()
	if _, err := p.name(ctx, image); err != nil {
		return fmt.Errorf("could not give %s, which is present as %s, its name in the runtime: %w", origin.Original, origin.Stored, err)
	}
	n.inform(fmt.Sprintf("gave the image that is present as %s the name %s", origin.Stored, origin.Original))
	return nil
}
