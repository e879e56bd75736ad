package naming

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// repositoryFilter returns a filter for the records of a repository (containerd, pkg/filters).
func repositoryFilter(repository string) string {
	return "name~=" + strconv.Quote("^"+regexp.QuoteMeta(repository)+"[:@]")
}

// endPull ends a pull from a repository.
func (n *Namer) endPull(ctx context.Context, repository string) {
	if state, last := n.gate.endPull(repository); last {
		n.finishOrRepair(ctx, repository, state)
	}
}

// endLastPull ends a pull from a repository if no other one is in progress. Otherwise it does
// nothing and returns false.
func (n *Namer) endLastPull(ctx context.Context, repository string) bool {
	state, last := n.gate.endLastPull(repository)
	if last {
		n.finishOrRepair(ctx, repository, state)
	}
	return last
}

// finishOrRepair calls finish. If it fails, the repair retries it in the background.
func (n *Namer) finishOrRepair(ctx context.Context, repository string, state *repositoryPulls) {
	if err := n.finish(ctx, repository, state); err != nil {
		n.warn(err)
		n.gate.reopen(repository)
		n.tasks.start(ctx, func(ctx context.Context) { n.repair(ctx, repository, state) })
	}
}

// finish deletes the names that the pulls from a repository have created. If it fails, the
// caller must call gate.reopen. The state and the journal then still contain the pulls.
func (n *Namer) finish(ctx context.Context, repository string, state *repositoryPulls) error {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	if late := n.gate.unfinished(state); len(late) > 0 {
		return fmt.Errorf("images of %d pulls from %s lack their names", len(late), repository)
	}
	if len(n.gate.createdNames(state)) > 0 {
		if err := n.settle(ctx, repository, state); err != nil {
			return fmt.Errorf("could not delete the registry's names after pulls from %s: %w", repository, err)
		}
	}
	n.journal.drop(repository)
	n.gate.endDeletion(repository)
	n.tasks.run(ctx, func(context.Context) { n.flushJournal() }) // the client need not wait
	return nil
}

// flushJournal removes the finished pulls from the file of the journal. Otherwise a shim that
// starts after a crash would name their images again.
func (n *Namer) flushJournal() {
	if err := n.journal.flush(); err != nil {
		n.warn(fmt.Errorf("could not remove finished pulls from the journal: %w", err))
	}
}

// settle restores the records of a repository to their state before the pulls for other names.
// Names that clients have pulled by their own names meanwhile stay.
func (n *Namer) settle(ctx context.Context, repository string, state *repositoryPulls) error {
	images := n.gate.imageIDs(state)
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
	if err := n.awaitDeleted(ctx, gone, images...); err != nil {
		return err
	}
	for _, image := range images {
		if err := n.forgetNamed(ctx, image, []string{repository}); err != nil {
			return err
		}
	}
	return nil
}

// addHidden records the names of an image in a repository that the ledger hides, so that they
// are deleted. They belong to a pull that could not name its image.
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
			n.gate.addCreated(state, image, name)
		}
	}
	return nil
}

// recordsOf returns the records that settle needs: those that the pulls have created, and the
// other records of their images in the repository. It reads them one by one, because
// containerd reads the records of all images to list a repository.
func (n *Namer) recordsOf(ctx context.Context, in string, state *repositoryPulls) (records []*containerd.Record, err error) {
	names := n.gate.createdNames(state)
	for _, name := range slices.Clone(names) {
		if kept := n.gate.keptRecord(state, name); kept.GetTarget() != nil {
			names = append(names, in+"@"+kept.GetTarget().GetDigest())
		}
	}
	for _, image := range n.gate.imageIDs(state) {
		shown, err := n.runtime.ImageStatus(ctx, image)
		if err != nil {
			return nil, err
		}
		for _, tag := range shown.GetRepoTags() {
			if imagename.Repository(tag) == in {
				names = append(names, tag)
			}
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
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

// isForeign reports whether the CRI shows a name on an image that is not from the pulls. In
// this case another client has created or moved the name since.
func (n *Namer) isForeign(ctx context.Context, record *containerd.Record, state *repositoryPulls) (bool, error) {
	image, err := n.runtime.ImageStatus(ctx, record.GetName())
	if err != nil || image == nil || !imagename.Has(image, record.GetName()) {
		return false, err
	}
	ours := slices.ContainsFunc(n.gate.imageIDs(state), func(id string) bool {
		return strings.TrimPrefix(id, "sha256:") == strings.TrimPrefix(image.Id, "sha256:")
	})
	return !ours, nil
}
