package rewrite

import (
	"context"
	"time"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ledgerImage is the runtime's answer for the image that the ledger has for a name.
type ledgerImage struct {
	entry ledger.Entry
	asked time.Time
	found resolution
	err   error
}

// askLedgerImage asks the runtime for the image that the ledger has for an original, in a
// goroutine. It returns the channel for the answer, or nil if the ledger has no entry.
func (c call) askLedgerImage(ctx context.Context, request *runtime.ImageStatusRequest, original string) <-chan ledgerImage {
	known, ok := c.ledger.Lookup(original)
	if !ok {
		return nil
	}
	answer := make(chan ledgerImage, 1)
	go func() {
		defer close(answer)
		k := ledgerImage{entry: known, asked: time.Now()}
		k.found, k.err = c.resolveEntry(ctx, request, known)
		answer <- k
	}()
	return answer
}

// resolveEntry asks the runtime for the image of a ledger's entry. If the runtime fails to
// answer for the ID, resolveEntry asks for the reference that the image was pulled by. If the
// runtime has no image under that reference, the resolution has no response: another runtime
// may have replaced the one that assigned the ID. Otherwise resolveEntry returns the error.
func (c call) resolveEntry(ctx context.Context, request *runtime.ImageStatusRequest, known ledger.Entry) (resolution, error) {
	found, failure := c.resolveAs(ctx, request, known.Image)
	if failure == nil || cri.EndsCall(failure) {
		return found, failure
	}
	failed := failedLookups{{reference: known.Image, err: failure}}
	found, err := c.resolveAs(ctx, request, known.Stored)
	switch {
	case err == nil && found.image().GetId() == known.Image:
		found.failed = failed.settle()
		return found, nil
	case err != nil && cri.EndsCall(err):
		return resolution{failed: failed}, err
	case err != nil:
		failed.add(known.Stored, err)
	}
	switch {
	case refuses(failure), refuses(err), err == nil && found.response != nil && found.image() == nil:
		return resolution{failed: failed.settle()}, nil
	}
	return resolution{failed: failed}, failure
}

// resolveLedgerImage evaluates the answer of askLedgerImage.
func (c call) resolveLedgerImage(answer <-chan ledgerImage) (resolution, error) {
	if answer == nil {
		return resolution{}, nil
	}
	known := <-answer
	nothing := resolution{failed: known.found.failed}
	if known.err != nil {
		return nothing, known.err
	}
	switch image := known.found.image(); {
	case known.found.response == nil:
		return nothing, nil
	case image == nil:
		c.forgetImage(known.entry.Image, known.asked) // removed without the shim
		return nothing, nil
	case !c.ledger.IsStillOn(known.entry, image):
		if err := c.ledger.DropName(known.entry.Original); err != nil {
			c.warn(err)
		}
		return nothing, nil
	}
	known.found.reference, known.found.registry, known.found.reason = known.entry.Stored, known.entry.Registry, "pulled from this registry"
	return known.found, nil
}

func (c call) apply(wanted ledger.Change) {
	if err := c.ledger.Apply(wanted); err != nil {
		c.warn(err)
	}
}

func (c call) forgetImage(id string, at time.Time) {
	if err := c.ledger.ForgetImage(id, at); err != nil {
		c.warn(err)
	}
}

// observeAnswer records in the ledger which image the runtime has under a reference. image is
// the runtime's answer for the reference, and asked is the time of the call.
func (c call) observeAnswer(reference string, image *runtime.Image, asked time.Time) {
	on := ""
	if image != nil && imagename.Has(image, reference) {
		on = image.Id
	}
	c.observe(reference, on, asked)
}

func (c call) observe(reference, on string, asked time.Time) {
	if err := c.ledger.Observe(reference, on, asked); err != nil {
		c.warn(err)
	}
}
