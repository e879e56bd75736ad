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
		decision.Reason, decision.Outcome = "not removed", OutcomeFailed
	}
	decision.Reason, decision.Failed = r.failed.explain(decision.Reason), r.failed.first()
	decision.Duration, decision.Err = time.Since(start), err
	c.decided(ctx, decision)
	return r.response, err
}

// removal is one RemoveImage.
type removal struct {
	call
	request  *runtime.RemoveImageRequest
	encoded  []byte          // request as it came
	name     reference.Named // that was asked for; nil for an ID
	removed  string          // what was removed last; empty if nothing
	response []byte          // the runtime's last
	failed   unanswered      // the references that the runtime failed to answer for
}

func (r *removal) run(ctx context.Context) error {
	name, err := Parse(r.request.Image.Image)
	if err != nil {
		return r.removeAsWritten(ctx)
	}
	r.name = name
	if err := r.removeKnown(ctx); err != nil {
		return err
	}
	if err := r.removeCandidates(ctx); err != nil {
		return err
	}
	return r.removeAsWritten(ctx)
}

// original returns the reference that was asked for, empty for an ID.
func (r *removal) original() string {
	if r.name == nil {
		return ""
	}
	return r.name.String()
}

// removeKnown removes the image that the ledger has for the name.
func (r *removal) removeKnown(ctx context.Context) error {
	known, ok := r.ledger.lookup(r.original())
	if !ok {
		return nil
	}
	asked := time.Now()
	found, err := r.resolveEntry(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{}}, known)
	r.failed = append(r.failed, found.failed...)
	if err != nil && ends(err) {
		return err
	}
	switch image := found.image(); {
	case found.response == nil:
		return nil
	case image == nil:
		r.forgetImage(known.Image, asked) // removed behind the shim's back
		return nil
	case !r.ledger.stillOn(known, image):
		return nil
	case hasName(image, known.Stored):
		return r.remove(ctx, known.Stored, image.Id) // CRI-O then removes no more than that reference
	default:
		return r.remove(ctx, known.Image, image.Id)
	}
}

// removeCandidates removes what ImageStatus would find under the references that
// the registries would give the name.
func (r *removal) removeCandidates(ctx context.Context) error {
	for _, candidate := range r.lookup.Candidates(r.name) {
		if candidate.Reference == r.original() {
			continue
		}
		image, err := r.runtime.status(ctx, candidate.Reference)
		if err != nil && ends(err) {
			return err
		}
		if err != nil {
			r.failed.add(candidate.Reference, err)
			continue
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

// removeAsWritten lets the runtime remove the image that it has under the asked
// name or ID itself, unless that is hidden. If nothing was removed at all, the
// answer is the runtime's error about another reference, or else its answer to the
// request.
func (r *removal) removeAsWritten(ctx context.Context) error {
	asked := r.request.Image.Image
	image, err := r.runtime.status(ctx, asked)
	switch {
	case err != nil && ends(err):
		return err
	case err != nil:
		return r.removeUnseen(ctx, asked, err)
	case image != nil && (r.name == nil || !r.hides(r.name, image)):
		return r.remove(ctx, asked, image.Id)
	case r.removed != "":
		return nil
	}
	if err := r.failed.err(); err != nil || image != nil {
		return err
	}
	return r.forwardAs(ctx, asked)
}

// removeUnseen removes the asked name or ID when the runtime has failed to say
// what it has under it. The request is the client's own, and the runtime's answer
// to it is as true as without the shim. It is not sent if something was removed,
// if the image may be under another reference, or if the name may be hidden: it
// would then remove another name's image.
func (r *removal) removeUnseen(ctx context.Context, asked string, failure error) error {
	elsewhere := r.failed.err()
	r.failed.add(asked, failure)
	_, hidden := r.ledger.hiddenOn(r.original())
	switch {
	case r.removed != "":
		return nil
	case elsewhere != nil || hidden || r.ledger.isAnnounced(r.original()):
		return failure
	}
	if err := r.forwardAs(ctx, asked); err != nil {
		return err
	}
	r.removed = asked
	return nil
}

// remove lets the runtime remove a reference or ID of an image, and updates the
// ledger: containerd removes an image with all its names, CRI-O by name only
// that one, and the image with its last. An image that only hidden references
// are left of is therefore removed, too.
func (r *removal) remove(ctx context.Context, reference, image string) error {
	done, err := r.namer.use(ctx, image)
	if err != nil {
		return err
	}
	err = r.forwardAs(ctx, reference)
	done()
	if err != nil {
		return err
	}
	r.removed = reference
	if r.ledger.empty() {
		return nil
	}
	asked := time.Now()
	left, err := r.runtime.status(ctx, image)
	if err != nil {
		r.failed.add(image, err) // the ledger keeps what it has until the runtime answers
		return nil
	}
	if left != nil {
		r.apply(change{Unname: []string{r.original()}})
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
