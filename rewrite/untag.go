package rewrite

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// CRI-O removes an image by name by taking the name off it, and removes the image with its
// last tag. The other runtimes remove the image with all its names. This file keeps CRI-O
// from removing an image that clients see under other names.

// removeStored removes the stored reference of a name. Where the runtime would only take
// the reference off the image, it stays for other names that need it.
func (r *removal) removeStored(ctx context.Context, known ledger.Entry, image *runtime.Image) error {
	if r.isNeeded(known.Stored, image) && r.untags(ctx) {
		return r.removeLedgerName(ctx, ledger.RemoveMoved(known), image.Id)
	}
	return r.remove(ctx, known.Stored, image.Id)
}

// isNeeded reports whether clients see names of an image, other than the asked one, that the
// image loses with a reference: names that are stored under it, the reference itself if it
// was asked for, or all if it is the last tag.
func (r *removal) isNeeded(reference string, image *runtime.Image) bool {
	if r.ledger.NeedsStored(reference, image.Id, r.original()) {
		return true
	}
	known, ok := r.ledger.Lookup(r.original())
	if ok && known.WasPulled() && (known.Lost || r.ledger.IsAsked(reference, image.Id)) {
		return true // it was given to the image by its own name, too
	}
	if len(image.RepoTags) != 1 || imagename.Canonical(image.RepoTags[0]) != reference {
		return false
	}
	return slices.ContainsFunc(r.ledger.VisibleNames(image), func(name string) bool {
		own, known := r.ledger.Lookup(name)
		return name != r.original() && name != reference && !strings.Contains(name, "@") && !(known && own.Preloaded)
	})
}

// removeLedgerName removes a name that only the ledger has, and the image if it was the last.
func (r *removal) removeLedgerName(ctx context.Context, noted ledger.Change, image string) error {
	r.apply(noted)
	r.removed = image
	var err error
	if r.response, err = proto.Marshal(&runtime.RemoveImageResponse{}); err != nil {
		return err
	}
	return r.updateLedger(ctx, image, true)
}

// removeShown removes an image by what the client wrote. A reference that names of other
// registries are stored under stays for them if the runtime would only take it off.
func (r *removal) removeShown(ctx context.Context, asked string, own *runtime.Image) error {
	if r.name != nil && r.isNeeded(r.original(), own) && r.untags(ctx) {
		return r.removeLedgerName(ctx, ledger.Change{Hide: []ledger.ImageRef{{Reference: r.original(), Image: own.Id}}}, own.Id)
	}
	return r.remove(ctx, asked, own.Id)
}

// untags reports whether the runtime removes an image by name by taking the name off it:
// CRI-O does, and removes the image with its last tag. The others remove the image with
// all its names.
func (c call) untags(ctx context.Context) bool {
	raw, err := c.runtime.Invoke(ctx, "/"+c.runtime.Version+".RuntimeService/Version", nil)
	version := &runtime.VersionResponse{}
	return err == nil && proto.Unmarshal(raw, version) == nil && version.RuntimeName == "cri-o"
}
