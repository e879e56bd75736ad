package rewrite

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
)

// The runtime's error about an image is no answer: the image may be there. It is
// never taken for an empty ImageStatus. What it means for a call depends on the
// question that failed and on the call's method:
//
//   - Canceled, DeadlineExceeded and Unavailable end the call at once ([cri.EndsCall]).
//   - NotFound is an answer ([cri.Client.ImageStatusOf]).
//   - InvalidArgument says that the runtime can't have an image under such a
//     reference ([refuses]). It is logged, and the search goes on.
//   - Any other error about the name that the client wrote is the call's own
//     error. Unknown is the exception while another reference may have the image:
//     CRI-O refuses short names with it ([mayRefuse]).
//   - Any other error about the image that the ledger has for the name is the
//     call's error, unless the runtime answers for the reference that the image
//     was pulled by ([call.resolveEntry]).
//   - Any other error about a registry's reference is logged by ImageStatus and
//     the lists, which answer as the runtime does for the name itself: it must
//     not keep kubelet from pulling. CreateContainer and RemoveImage return it if
//     they find the image under no other reference.
//
// RemoveImage succeeds once it has removed an image, and logs the other errors.

// refuses reports whether err says that the runtime does not accept a reference
// as such. It then has no image under it.
func refuses(err error) bool { return status.Code(err) == codes.InvalidArgument }

// mayRefuse reports whether err may be the refusal of a name. Runtimes give most
// of their errors the code Unknown. CRI-O does so for a short name that its
// registries.conf does not resolve.
func mayRefuse(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.Unknown:
		return true
	}
	return false
}

// failedLookups are the runtime's errors about the references of one image, in the order of
// the questions.
type failedLookups []failedLookup

type failedLookup struct {
	reference string // or ID
	err       error
	settled   bool // another answer says whether the image is there
}

// add keeps the first error about each reference.
func (u *failedLookups) add(reference string, err error) {
	if slices.ContainsFunc(*u, func(q failedLookup) bool { return q.reference == reference }) {
		return
	}
	*u = append(*u, failedLookup{reference: reference, err: err})
}

// settle records that another answer says whether the image is there.
func (u failedLookups) settle() failedLookups {
	for i := range u {
		u[i].settled = true
	}
	return u
}

// err returns the first error that leaves open whether there is an image, nil if
// there is none.
func (u failedLookups) err() error {
	for _, question := range u {
		if !question.settled && !refuses(question.err) {
			return question.err
		}
	}
	return nil
}

// first returns the first error, nil if there is none.
func (u failedLookups) first() error {
	if len(u) == 0 {
		return nil
	}
	return u[0].err
}

// explain appends the errors to the reason of a decision, in one line of bounded
// length.
func (u failedLookups) explain(reason string) string {
	if len(u) == 0 {
		return reason
	}
	texts := make([]string, len(u))
	for i, question := range u {
		failure := status.Convert(question.err)
		texts[i] = question.reference + " (" + failure.Code().String() + ": " + cause(question.err, question.reference) + ")"
	}
	return reason + "; the runtime failed to answer for " + printable.Line(strings.Join(texts, ", "), lineLimit)
}
