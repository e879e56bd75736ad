package naming

import (
	"context"
	"errors"
	"fmt"
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// put gives an image names. If the image was removed meanwhile, put deletes the names again
// and returns errRemoved.
func (n *Namer) put(ctx context.Context, image *runtime.Image, bindings []binding) error {
	for _, b := range bindings {
		if err := n.putOne(ctx, image, b); err != nil {
			return fmt.Errorf("create the name %s: %w", b.name, err)
		}
	}
	for _, b := range bindings { // a pull from the repository of the name may be in progress
		n.gate.keepIfActive(imagename.Repository(b.name), &containerd.Record{Name: b.name, Target: b.from.GetTarget(), Labels: b.from.GetLabels()})
	}
	present, err := n.isWhole(ctx, image.GetId(), bindings)
	if err != nil || present {
		return err
	}
	for _, b := range bindings {
		err = errors.Join(err, n.images.Delete(ctx, &containerd.Record{Name: b.name, Target: b.from.GetTarget()}))
	}
	return errors.Join(errRemoved, err)
}

// putOne gives an image a name. It does nothing if the image has the name already and the CRI
// shows it, because containerd would write and publish an update for each repeated pull.
func (n *Namer) putOne(ctx context.Context, image *runtime.Image, b binding) error {
	labels, err := n.labelsFor(ctx, b.name, b.from)
	if err != nil {
		return err
	}
	record := &containerd.Record{Name: b.name, Target: b.from.GetTarget(), Labels: labels}
	if imagename.Has(image, b.name) {
		current, err := n.images.Get(ctx, b.name)
		if err != nil || current != nil && sameTarget(current, record) && hasLabels(current, labels) {
			return err
		}
	}
	return n.images.Put(ctx, record)
}

// isWhole reports whether an image exists with the content that its names need. containerd
// accepts names without content, but the CRI does not show them.
func (n *Namer) isWhole(ctx context.Context, image string, bindings []binding) (bool, error) {
	checked := make(map[string]bool)
	for _, b := range bindings {
		digest := b.from.GetTarget().GetDigest()
		if checked[digest] {
			continue
		}
		checked[digest] = true
		if present, err := n.images.HasContent(ctx, b.from); err != nil || !present {
			return false, err
		}
	}
	// The content may exist only because of the new names. The record named by the image's ID
	// shows whether the image was removed: RemoveImage deletes that record.
	id, err := n.images.Get(ctx, image)
	return id != nil, err
}

// labelsFor returns the labels for a record that copies from. It pins only names of the
// sandbox image, as containerd does.
func (n *Namer) labelsFor(ctx context.Context, name string, from *containerd.Record) (map[string]string, error) {
	labels := make(map[string]string, len(from.GetLabels())+1)
	for key, value := range from.GetLabels() {
		if key != containerd.PinnedLabel {
			labels[key] = value
		}
	}
	sandbox, err := n.sandbox.names(ctx, n)
	if err == nil && slices.Contains(sandbox, name) {
		labels[containerd.PinnedLabel] = "pinned"
	}
	return labels, err
}

// hasLabels reports whether a record has all of labels. It may have others.
func hasLabels(record *containerd.Record, labels map[string]string) bool {
	for key, value := range labels {
		if record.GetLabels()[key] != value {
			return false
		}
	}
	return true
}
