package naming

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// nameLedger moves the names in the ledger into the runtime, image by image. It returns the
// first error.
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
// registry's names that are hidden on it. It does nothing while a pull from the repository
// of one of these names is in progress.
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
		return nil // the end of the last pull names the image
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
	if len(hidden) < len(image.GetRepoTags())+len(image.GetRepoDigests()) { // keep at least one name
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
		n.inform(fmt.Sprintf("moved %d names of image %s from the ledger into the runtime, %d remain in the ledger", waiting-left, id, left))
	}
	return nil
}

// repositoriesOf returns the repositories that an image in the ledger was pulled from, and
// the repositories of its hidden names.
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

// deleteHidden deletes the hidden names of an image, except those that the runtime needs.
// repositories are the repositories of these names. It returns the names that the image no
// longer has.
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
			gone = append(gone, name) // the CRI may still show it
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

// isHidden reports whether clients do not see a name on an image: the ledger hides the name,
// and no client has asked for the image by it.
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
