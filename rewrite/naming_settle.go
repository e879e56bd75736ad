package rewrite

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// repositoryFilter selects the records of a repository (containerd, pkg/filters).
func repositoryFilter(repository string) string {
	return "name~=" + strconv.Quote("^"+regexp.QuoteMeta(repository)+"[:@]")
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
	if !n.ledger.MayRestore() {
		return nil
	}
	found, err := n.runtime.ImageStatus(ctx, image)
	if err != nil {
		return err
	}
	for _, name := range n.hiddenNames(found) {
		if imagename.Repository(name) == from {
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
		shown, err := n.runtime.ImageStatus(ctx, image)
		if err != nil {
			return nil, err
		}
		for _, tag := range shown.GetRepoTags() {
			if imagename.Repository(tag) == in {
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
		back, err := n.putBack(ctx, kept)
		if err != nil {
			return nil, err
		}
		if back {
			byName[name] = kept
			if err := n.awaitBack(ctx, kept, byName); err != nil {
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
	for name := range state.kept { // their digests are among the kept names, if they had any
		delete(byName, name)
	}
	deleted, err := n.deleteAll(ctx, doomed, byName, n.forgo)
	return append(gone, deleted...), err
}

// putBack gives a name that stays the target that it had, unless its content is gone. It
// reports whether it has done so.
func (n *Namer) putBack(ctx context.Context, kept *containerd.Record) (bool, error) {
	if kept == nil {
		return false, nil
	}
	if present, err := n.images.HasContent(ctx, kept); err != nil || !present {
		return false, err
	}
	if err := n.images.Put(ctx, kept); err != nil {
		return false, fmt.Errorf("give %s back what it named: %w", kept.GetName(), err)
	}
	return true, nil
}

// remains reports whether a name that pulls have added is not deleted.
func (n *Namer) remains(ctx context.Context, record *containerd.Record, state *repositoryPulls) (bool, error) {
	if stays, err := n.mustStay(ctx, record); err != nil || stays {
		return stays, err
	}
	return n.isForeign(ctx, record, state)
}

// isForeign reports whether CRI shows a name on an image that the pulls have not brought:
// another client has given it the name since.
func (n *Namer) isForeign(ctx context.Context, record *containerd.Record, state *repositoryPulls) (bool, error) {
	image, err := n.runtime.ImageStatus(ctx, record.GetName())
	if err != nil || image == nil || !imagename.Has(image, record.GetName()) {
		return false, err
	}
	ours := slices.ContainsFunc(slices.Collect(maps.Keys(state.images)), func(id string) bool {
		return strings.TrimPrefix(id, "sha256:") == strings.TrimPrefix(image.Id, "sha256:")
	})
	return !ours, nil
}

// deleteAll deletes records of repositories, but for digests that came with a tag that
// stays. It calls replaced before a deletion, and returns the deleted names.
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

// awaitBack waits until CRI shows a name on the image that it has got back.
func (n *Namer) awaitBack(ctx context.Context, kept *containerd.Record, byName map[string]*containerd.Record) error {
	digest := imagename.Repository(kept.GetName()) + "@" + kept.GetTarget().GetDigest()
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
		if !strings.Contains(name, "@") && imagename.Repository(name) == imagename.Repository(record.GetName()) && sameTarget(other, record) {
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
