package rewrite

import (
	"context"
	"slices"
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
	decision := Decision{Method: "RemoveImage", Asked: oneLine(request.Image.Image), Reason: "not on this node", Outcome: OutcomeNone}
	err := r.run(ctx)
	if r.removed != "" {
		decision.Served, decision.Reason, decision.Outcome = r.removed, "removed", OutcomeRemoved
	}
	if err != nil {
		decision.Outcome = OutcomeFailed
	}
	decision.Duration, decision.Err = time.Since(start), err
	c.decided(ctx, decision)
	return r.response, err
}

// removal is one RemoveImage.
type removal struct {
	call
	request  *runtime.RemoveImageRequest
	encoded  []byte // request as it came
	original string // the reference that was asked for; empty for an ID
	removed  string // what was removed last; empty if nothing
	response []byte // the runtime's last
}

func (r *removal) run(ctx context.Context) error {
	name, err := Parse(r.request.Image.Image)
	if err != nil {
		return r.removeAsWritten(ctx, func(*runtime.Image) bool { return false })
	}
	r.original = name.String()
	if err := r.removeKnown(ctx); err != nil {
		return err
	}
	if err := r.removeCandidates(ctx, name); err != nil {
		return err
	}
	return r.removeAsWritten(ctx, func(image *runtime.Image) bool { return r.hides(name, image) })
}

// removeKnown removes the image that the ledger has for the name.
func (r *removal) removeKnown(ctx context.Context) error {
	known, ok := r.ledger.lookup(r.original)
	if !ok {
		return nil
	}
	image, err := r.runtime.status(ctx, known.Image)
	if err != nil {
		return fatal(err)
	}
	switch {
	case image == nil || !r.ledger.stillOn(known, image):
		return nil
	case hasName(image, known.Stored):
		return r.remove(ctx, known.Stored, image.Id) // CRI-O then removes no more than that reference
	default:
		return r.remove(ctx, known.Image, image.Id)
	}
}

// removeCandidates removes what ImageStatus would find under the references that
// the registries would give the name.
func (r *removal) removeCandidates(ctx context.Context, name reference.Named) error {
	for _, candidate := range r.lookup.Candidates(name) {
		if candidate.Reference == r.original {
			continue
		}
		image, err := r.runtime.status(ctx, candidate.Reference)
		if err != nil && ends(err) {
			return err
		}
		if image == nil || r.ledger.isHidden(candidate.Reference, image.Id) {
			continue
		}
		if err := r.remove(ctx, candidate.Reference, image.Id); err != nil {
			return err
		}
	}
	return nil
}

// removeAsWritten lets the runtime remove what it has under the asked name or ID
// itself, unless that is hidden. If there was nothing at all, the answer is
// whatever the runtime says to that.
func (r *removal) removeAsWritten(ctx context.Context, hidden func(*runtime.Image) bool) error {
	asked := r.request.Image.Image
	image, err := r.runtime.status(ctx, asked)
	switch {
	case err != nil && ends(err):
		return err
	case image == nil && r.removed == "":
		return r.forwardAs(ctx, asked)
	case image == nil || hidden(image):
		return nil
	default:
		return r.remove(ctx, asked, image.Id)
	}
}

// remove lets the runtime remove a reference or ID of an image, and updates the
// ledger: containerd removes an image with all its names, CRI-O by name only
// that one, and the image with its last. An image that only hidden references
// are left of is therefore removed, too.
func (r *removal) remove(ctx context.Context, reference, image string) error {
	if err := r.forwardAs(ctx, reference); err != nil {
		return err
	}
	r.removed = reference
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
		r.apply(change{Unname: []string{r.original}})
		pulling := slices.ContainsFunc(left.RepoTags, r.ledger.isAnnounced)
		if hidden := r.ledger.restoreImage(left); pulling || !hidden || len(left.RepoTags) > 0 {
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

// forwardAs sends the request, with another reference or ID in place of what was
// asked for.
func (r *removal) forwardAs(ctx context.Context, reference string) (err error) {
	encoded := r.encoded
	if reference != r.request.Image.Image {
		renamed := proto.CloneOf(r.request)
		renamed.Image.Image = reference
		if encoded, err = proto.Marshal(renamed); err != nil {
			return err
		}
	}
	r.response, err = r.forward(ctx, encoded)
	return err
}
