package naming

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// restoreRecords deletes the names that pulls have added, and moves kept names back to their
// former targets. It returns the deleted names.
func (n *Namer) restoreRecords(ctx context.Context, records []*containerd.Record, state *repositoryPulls) (gone []string, err error) {
	byName := make(map[string]*containerd.Record, len(records))
	for _, record := range records {
		byName[record.GetName()] = record
	}
	var doomed []*containerd.Record
	for _, name := range n.gate.createdNames(state) {
		record, kept := byName[name], n.gate.keptRecord(state, name)
		if record == nil {
			gone = append(gone, name) // the CRI may still show it
			continue
		}
		if kept != nil && (sameTarget(kept, record) || kept.GetTarget() == nil) {
			continue
		}
		back, err := n.restoreRecord(ctx, kept)
		if err != nil {
			return nil, err
		}
		if back {
			byName[name] = kept
			if err := n.awaitRestored(ctx, kept, byName); err != nil {
				return nil, err
			}
			continue
		}
		if remains, err := n.remains(ctx, record, state); err != nil {
			return nil, err
		} else if !remains {
			doomed = append(doomed, record)
		}
	}
	for _, record := range doomed {
		delete(byName, record.GetName())
	}
	// A kept tag protects no digest: the digests that must stay are in kept too.
	for _, name := range n.gate.keptNames(state) {
		delete(byName, name)
	}
	deleted, err := n.deleteAll(ctx, doomed, byName, n.recordDeletion)
	return append(gone, deleted...), err
}

// restoreRecord moves a kept name back to its former target, unless the content of that target
// was removed. It reports whether it has moved the name.
func (n *Namer) restoreRecord(ctx context.Context, kept *containerd.Record) (bool, error) {
	if kept == nil {
		return false, nil
	}
	if present, err := n.images.HasContent(ctx, kept); err != nil || !present {
		return false, err
	}
	if err := n.images.Put(ctx, kept); err != nil {
		return false, fmt.Errorf("move the name %s back to its former image: %w", kept.GetName(), err)
	}
	return true, nil
}

// remains reports whether a name that pulls have added must not be deleted.
func (n *Namer) remains(ctx context.Context, record *containerd.Record, state *repositoryPulls) (bool, error) {
	if stays, err := n.isNeeded(ctx, record); err != nil || stays {
		return stays, err
	}
	return n.isForeign(ctx, record, state)
}

// deleteAll deletes the records in doomed, except digests with the target of a tag in stays.
// It calls replaced before each deletion, and returns the deleted names.
func (n *Namer) deleteAll(ctx context.Context, doomed []*containerd.Record, stays map[string]*containerd.Record, replaced func(name string)) (gone []string, err error) {
	for _, record := range doomed {
		if belongsToTag(record, stays) {
			continue
		}
		replaced(record.GetName())
		if err := n.images.Delete(ctx, record); err != nil {
			return nil, fmt.Errorf("delete the name %s: %w", record.GetName(), err)
		}
		gone = append(gone, record.GetName())
	}
	return gone, nil
}

// awaitRestored waits until the CRI shows a name on the image that it was moved back to.
func (n *Namer) awaitRestored(ctx context.Context, kept *containerd.Record, byName map[string]*containerd.Record) error {
	digest := imagename.Repository(kept.GetName()) + "@" + kept.GetTarget().GetDigest()
	if byName[digest] == nil {
		return nil // without the digest, the image can't be recognized
	}
	_, err := n.awaitView(ctx, kept.GetName(), func(_ string, names []string) bool { return slices.Contains(names, digest) })
	return err
}

// isNeeded reports whether the runtime itself needs a name: it is pinned, or a name of the
// sandbox image.
func (n *Namer) isNeeded(ctx context.Context, record *containerd.Record) (bool, error) {
	sandbox, err := n.sandbox.names(ctx, n)
	return containerd.IsPinned(record) || slices.Contains(sandbox, record.GetName()), err
}

// belongsToTag reports whether a digest record has the target of a tag in stays, in the same
// repository.
func belongsToTag(record *containerd.Record, stays map[string]*containerd.Record) bool {
	if !strings.Contains(record.GetName(), "@") {
		return false
	}
	for name, other := range stays {
		if !strings.Contains(name, "@") && imagename.Repository(name) == imagename.Repository(record.GetName()) && sameTarget(other, record) {
			return true
		}
	}
	return false
}

func sameTarget(a, b *containerd.Record) bool {
	return a.GetTarget().GetDigest() == b.GetTarget().GetDigest()
}

// awaitDeleted waits until the CRI no longer shows deleted names on images.
func (n *Namer) awaitDeleted(ctx context.Context, names []string, images ...string) error {
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
