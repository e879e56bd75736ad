package rewrite

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
)

// attempts lists the registries that did not serve a pull, the preferred one first. The text is
// appended to an error, and so appears in the pod's event, of which kubelet keeps 1024 bytes.
type attempts struct {
	failed       []failedAttempt
	lookupFailed bool  // a lookup failed
	pullErr      error // the runtime's error of the last failed pull
}

// failedAttempt is a registry that did not serve a pull.
type failedAttempt struct{ registry, result, cause string }

// Limits in bytes.
const (
	appendedLimit = 300 // what the shim appends to an error of the runtime
	listLimit     = 300 // the list in other texts
	causeMax      = 200 // a cause, if all of them fit in the list
	causeLimit    = 120 // a cause in other lists, which may be shortened to causeMin
	causeMin      = 24
	hostLimit     = 100 // a registry in the list
	resultLimit   = 40  // the kind of a failure in the list
	lineLimit     = 300 // a name, or a reason elsewhere
	nameLimit     = 600 // the requested name in a decision; a name that is cut may be that of another image
)

// addSkipped adds a registry that the shim does not pull from.
func (a *attempts) addSkipped(answer Answer) {
	result, cause, _ := strings.Cut(answer.Reason, ": ")
	a.add(answer.Registry, result, cause)
	a.lookupFailed = a.lookupFailed || !answer.Absent
}

// addFailed adds a registry after a failed pull.
func (a *attempts) addFailed(candidate Candidate, err error) {
	a.add(candidate.Registry, "pull failed", cause(err, candidate.Reference))
	a.pullErr = err
}

func (a *attempts) add(registry, result, cause string) {
	a.failed = append(a.failed, failedAttempt{printable.Line(registry, hostLimit), printable.Line(result, resultLimit), printable.End(cause, causeMax)})
}

// isEmpty reports whether no registry was added.
func (a *attempts) isEmpty() bool { return len(a.failed) == 0 }

// hasFailures reports whether any lookup or pull failed. If so, a registry may have the image.
func (a *attempts) hasFailures() bool { return a.lookupFailed || a.pullErr != nil }

// text returns the list in one line of at most limit bytes. Causes are shortened at their
// beginning. The first registry is always in the list; a number stands for the last ones that
// do not fit.
func (a *attempts) text(limit int) string {
	if whole := a.list(math.MaxInt, causeMax); len(whole) <= limit {
		return whole
	}
	return a.list(limit, causeLimit)
}

// list is text with a limit for each cause.
func (a *attempts) list(limit, causeLimit int) string {
	list := ""
	for i, failed := range a.failed {
		failed.cause = printable.End(failed.cause, causeLimit)
		separator, room := "", limit-len(list)
		if i > 0 {
			separator = ", "
		}
		if i < len(a.failed)-1 {
			room -= len(more(len(a.failed)))
		}
		text, ok := failed.text(room - len(separator))
		if !ok && i > 0 {
			return list + more(len(a.failed)-i)
		}
		list += separator + text
	}
	return list
}

// more returns the end of a list without its last n registries.
func more(n int) string { return fmt.Sprintf(", and %d more", n) }

// text returns the attempt in at most limit bytes. It reports false if that leaves too little of
// the cause.
func (f failedAttempt) text(limit int) (text string, ok bool) {
	begin := f.registry + " (" + f.result
	if f.cause == "" {
		return begin + ")", len(begin)+1 <= limit
	}
	room := limit - len(begin) - len(": )")
	return begin + ": " + printable.End(f.cause, max(room, causeMin)) + ")", room >= min(causeMin, len(f.cause))
}

// explain appends the attempts to an error of the runtime, in at most limit bytes. It keeps the
// code, the details and the beginning of the text, because kubelet compares them
// (evalCRIPullErr in kubernetes/pkg/kubelet/images).
func (a *attempts) explain(err error, introduction string, limit int) error {
	return a.append(err, "; image-cri-shim "+introduction, limit)
}

// append appends an introduction and the attempts to the text of an error, in at most limit
// bytes together with the text that was appended before.
func (a *attempts) append(err error, introduction string, limit int) error {
	failure, ok := status.FromError(err)
	if !ok || a.isEmpty() {
		return err
	}
	before := ""
	if earlier, ok := errors.AsType[*explainedError](err); ok {
		before = earlier.appended
	}
	introduction += ": "
	appended := introduction + a.text(limit-len(before)-len(introduction))
	explained := failure.Proto()
	explained.Message += appended
	return &explainedError{status: status.FromProto(explained), appended: before + appended}
}

// explainedError is a runtime's error with a text that the shim has appended. The proxy may
// truncate the appended text, but not the runtime's.
type explainedError struct {
	status   *status.Status
	appended string
}

func (e *explainedError) Error() string { return e.status.Err().Error() }

// GRPCStatus returns the status with the full text.
func (e *explainedError) GRPCStatus() *status.Status { return e.status }

// Appended returns the end of the text, which the shim has appended.
func (e *explainedError) Appended() string { return e.appended }

// refusal returns the error of a pull that may not use the original registry:
//   - If a pull has failed, it is the runtime's error with the attempts.
//   - If a lookup has failed, the text begins with RegistryUnavailable, which kubelet shows as
//     the pod's reason (k8s.io/cri-api/pkg/errors). The code is Unknown, because kubelet
//     removes only this code from the text before it compares.
//   - Otherwise no registry has the image, and the code is NotFound.
func (a *attempts) refusal(original string) error {
	const rule = "fallback: never"
	original = printable.Line(original, lineLimit) // the grammar does not limit a registry's host
	switch {
	case a.pullErr != nil:
		return a.explain(a.pullErr, "may not use the original registry ("+rule+"), tried", appendedLimit)
	case a.isEmpty():
		return status.Errorf(codes.NotFound, "image-cri-shim: no registry is configured for %s, and the original registry may not be used (%s)", original, rule)
	case a.lookupFailed:
		return status.Errorf(codes.Unknown, "RegistryUnavailable: image-cri-shim: %s may not be pulled from its original registry (%s), tried: %s", original, rule, a.text(listLimit))
	default:
		return status.Errorf(codes.NotFound, "image-cri-shim: no configured registry has %s, and the original registry may not be used (%s), tried: %s", original, rule, a.text(listLimit))
	}
}

// cause returns the end of a runtime's error, which has the cause. Runtimes put the operations
// before it, and repeat the reference in each of them.
func cause(err error, reference string) string {
	text := strings.Join(strings.Fields(status.Convert(err).Message()), " ")
	if last := strings.LastIndex(text, reference+`": `); last >= 0 {
		text = text[last+len(reference+`": `):]
	}
	return printable.End(text, causeLimit)
}
