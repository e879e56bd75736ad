package rewrite

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
)

// For example, a client asks for nginx:1.25, the runtime has no image of this name, and it
// answers Internal for hub:5000/library/nginx:1.25. The image may still exist there. The shim
// therefore never treats an error of the runtime as an absent image. The effect of an error
// depends on its code, on the reference, and on the method of the client's call:
//
//   - Canceled, DeadlineExceeded and Unavailable end the call at once ([cri.EndsCall]).
//   - NotFound is an answer ([cri.Client.ImageStatusOf]).
//   - InvalidArgument means that the runtime can't have an image under such a reference
//     ([refuses]). The error is logged, and the search continues.
//   - Any other error for the name that the client wrote is returned to the client. The
//     exception is Unknown, with which CRI-O refuses short names ([mayRefuse]): the search
//     continues, and the error is returned only if no other reference has the image.
//   - Any other error for the image in the ledger is returned, unless the runtime answers for
//     the reference that the image was pulled by ([call.resolveEntry]).
//   - Any other error for a registry's reference is only logged by ImageStatus and lists, which
//     then return the answer for the name itself, so that kubelet can still pull the image.
//     CreateContainer and RemoveImage return the error if no other reference has the image.
//
// RemoveImage succeeds if it has removed an image, and only logs other errors.

// refuses reports whether the runtime does not accept a reference. It then has no image under
// this reference.
func refuses(err error) bool { return status.Code(err) == codes.InvalidArgument }

// mayRefuse reports whether err may mean that the runtime does not accept a reference. CRI-O
// returns Unknown for a short name that its registries.conf does not resolve, but runtimes
// also use Unknown for most other errors.
func mayRefuse(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.Unknown:
		return true
	}
	return false
}

// failedLookups are the runtime's errors for the references of one image, in the order of the
// lookups.
type failedLookups []failedLookup

type failedLookup struct {
	reference string // reference or image ID
	err       error
	settled   bool // another answer shows whether the image exists
}

// add adds an error, unless the reference already has one.
func (u *failedLookups) add(reference string, err error) {
	if slices.ContainsFunc(*u, func(q failedLookup) bool { return q.reference == reference }) {
		return
	}
	*u = append(*u, failedLookup{reference: reference, err: err})
}

// settle marks all errors as settled, because another answer shows whether the image exists.
func (u failedLookups) settle() failedLookups {
	for i := range u {
		u[i].settled = true
	}
	return u
}

// err returns the first error that leaves open whether the image exists, or nil.
func (u failedLookups) err() error {
	for _, question := range u {
		if !question.settled && !refuses(question.err) {
			return question.err
		}
	}
	return nil
}

// first returns the first error, or nil.
func (u failedLookups) first() error {
	if len(u) == 0 {
		return nil
	}
	return u[0].err
}

// explain appends the errors to the reason of a decision, in one line of limited length.
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
