package rewrite

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// removeImage removes whatever ImageStatus would show for the image, under each
// of its references, so that the name is really gone.
func (c call) removeImage(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.RemoveImageRequest{}
	if proto.Unmarshal(encoded, request) != nil || request.GetImage().GetImage() == "" {
		return c.forward(ctx, encoded)
	}
	start := time.Now()
	r := removal{call: c, request: request, encoded: encoded}
	decision := Decision{Method: "RemoveImage", Asked: oneLine(request.Image.Image), Reason: "not on this node"}
	err := r.run(ctx)
	if r.removed != "" {
		decision.Served, decision.Reason = r.removed, "removed"
	}
	decision.Duration, decision.Err = time.Since(start), err
	c.decided(decision)
	return r.response, err
}

// removal is one RemoveImage.
type removal struct {
	call
	request  *runtime.RemoveImageRequest
	encoded  []byte // request as it came
	removed  string // the reference or ID last removed; empty if none
	response []byte // the runtime's last
}

func (r *removal) run(ctx context.Context) error {
	asked := r.request.Image.Image
	name, err := Parse(asked)
	if err != nil {
		return r.runAsWritten(ctx, nil)
	}
	original := name.String()
	if known, ok := r.ledger.lookup(original); ok {
		if err := r.removeKnown(ctx, known); err != nil {
			return err
		}
	}
	for _, candidate := range r.lookup.Candidates(name) {
		if candidate.Reference == original {
			continue
		}
		if image, err := r.runtime.status(ctx, candidate.Reference); err == nil && image != nil && !r.ledger.isHidden(candidate.Reference, image.Id) {
			if err := r.remove(ctx, candidate.Reference, original); err != nil {
				return err
			}
		}
	}
	return r.runAsWritten(ctx, name)
}

// removeKnown removes the image that the ledger has for a name.
func (r *removal) removeKnown(ctx context.Context, known entry) error {
	image, err := r.runtime.status(ctx, known.Image)
	if err != nil && ends(err) {
		return err
	}
	if image == nil || !known.stillOn(image) {
		return nil
	}
	if hasName(image, known.Stored) {
		// CRI-O then removes no more than that reference.
		return r.remove(ctx, known.Stored, known.Original)
	}
	return r.remove(ctx, known.Image, known.Original)
}

// runAsWritten lets the runtime remove what it has under the asked name or ID
// itself, unless that is hidden. name is nil for an ID.
func (r *removal) runAsWritten(ctx context.Context, name reference.Named) error {
	image, err := r.runtime.status(ctx, r.request.Image.Image)
	if err != nil && ends(err) {
		return err
	}
	original := r.request.Image.Image
	if name != nil {
		original = name.String()
		if image != nil && r.hides(name, image) {
			return nil
		}
	}
	if image == nil {
		if r.removed == "" {
			r.response, err = r.forward(ctx, r.encoded) // whatever the runtime says to that
			return err
		}
		return nil
	}
	if r.response, err = r.forward(ctx, r.encoded); err != nil {
		return err
	}
	r.removed = r.request.Image.Image
	return r.forget(ctx, image.Id, original)
}

// remove removes what the runtime has under another reference.
func (r *removal) remove(ctx context.Context, reference, original string) error {
	image, err := r.runtime.status(ctx, reference)
	if err != nil && ends(err) {
		return err
	}
	if image == nil {
		return nil
	}
	if err := r.forwardAs(ctx, reference); err != nil {
		return err
	}
	r.removed = reference
	return r.forget(ctx, image.Id, original)
}

// forget updates the ledger: containerd removes an image with all its names,
// CRI-O by name only that one, and the image with its last. An image that only
// hidden references are left of is therefore removed, too.
func (r *removal) forget(ctx context.Context, image, original string) error {
	if r.ledger.empty() {
		return nil
	}
	asked := time.Now()
	left, err := r.runtime.status(ctx, image)
	if err != nil {
		r.warn(err)
		return nil
	}
	if left != nil {
		r.apply(change{Unname: []string{original}})
		if hidden := r.ledger.restoreImage(left); !hidden || len(left.RepoTags) > 0 {
			return nil
		}
		asked = time.Now()
		if err := r.forwardAs(ctx, image); err != nil {
			return err
		}
	}
	r.forgetImage(image, asked)
	return nil
}

// forwardAs sends the request with another reference or ID.
func (r *removal) forwardAs(ctx context.Context, reference string) error {
	renamed := proto.CloneOf(r.request)
	renamed.Image.Image = reference
	encoded, err := proto.Marshal(renamed)
	if err != nil {
		return err
	}
	r.response, err = r.forward(ctx, encoded)
	return err
}
