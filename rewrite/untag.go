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

// In CRI-O, RemoveImage of a name removes only this name, and the image with its last tag.
// Other runtimes remove the image with all its names. The functions in this file ensure that
// CRI-O does not remove an image, or a reference, that other visible names need.

// removeStored removes the stored reference of a name. If other names need this reference and
// the runtime removes single names, removeStored removes the name from the ledger only.
func (r *removal) removeStored(ctx context.Context, known ledger.Entry, image *runtime.Image) error {
	if r.isNeeded(known.Stored, image) && r.untags(ctx) {
		return r.removeLedgerName(ctx, ledger.RemoveMoved(known), image.Id)
	}
	return r.remove(ctx, known.Stored, image.Id)
}

// isNeeded reports whether the removal of a reference from an image would remove names that
// clients see, other than the requested name. These are the names that are stored under the
// reference, the reference itself if a client has asked for it, and all names if it is the
// last tag.
func (r *removal) isNeeded(reference string, image *runtime.Image) bool {
	if r.ledger.NeedsStored(reference, image.Id, r.original()) {
		return true
	}
	known, ok := r.ledger.Lookup(r.original())
	if ok && known.WasPulled() && (known.Lost || r.ledger.IsAsked(reference, image.Id)) {
		return true // a client has also put the reference on the image itself
	}
	if len(image.RepoTags) != 1 || imagename.Canonical(image.RepoTags[0]) != reference {
		return false
	}
	return slices.ContainsFunc(r.ledger.VisibleNames(image), func(name string) bool {
		own, known := r.ledger.Lookup(name)
		return name != r.original() && name != reference && !strings.Contains(name, "@") && !(known && own.Preloaded)
	})
}

// removeLedgerName removes a name that only the ledger has, and the image if that was its last
// name.
func (r *removal) removeLedgerName(ctx context.Context, noted ledger.Change, image string) error {
	r.apply(noted)
	r.removed = image
	var err error
	if r.response, err = proto.Marshal(&runtime.RemoveImageResponse{}); err != nil {
		return err
	}
	return r.updateLedger(ctx, image, true)
}

// removeShown removes an image by the name or ID that the client wrote. If other names need this
// reference and the runtime removes single names, removeShown only hides the reference.
func (r *removal) removeShown(ctx context.Context, asked string, own *runtime.Image) error {
	if r.name != nil && r.isNeeded(r.original(), own) && r.untags(ctx) {
		return r.removeLedgerName(ctx, ledger.Change{Hide: []ledger.ImageRef{{Reference: r.original(), Image: own.Id}}}, own.Id)
	}
	return r.remove(ctx, asked, own.Id)
}

// untags reports whether RemoveImage of a name removes only this name in the runtime, as in
// CRI-O, and not the image with all its names.
func (c call) untags(ctx context.Context) bool {
	raw, err := c.runtime.Invoke(ctx, "/"+c.runtime.Version+".RuntimeService/Version", nil)
	version := &runtime.VersionResponse{}
	return err == nil && proto.Unmarshal(raw, version) == nil && version.RuntimeName == "cri-o"
}
