package rewrite

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
)

// attempts are the registries that one pull has tried in vain, for people: the
// text stands at the end of an error, and so in a pod's event, which kubelet
// keeps 1024 bytes of.
type attempts struct {
	texts        []string
	lookupFailed bool  // a registry could not be asked
	pullErr      error // the runtime's, of the last pull that failed
}

const (
	textLimit = 400 // of the list, in bytes
	lineLimit = 300 // of a name or a reason in it
)

// addSkipped adds a registry that was not pulled from.
func (a *attempts) addSkipped(answer Answer) {
	a.texts = append(a.texts, answer.Registry+" ("+printable.Line(answer.Reason, lineLimit)+")")
	a.lookupFailed = a.lookupFailed || !answer.Absent
}

// addFailed adds a registry whose pull has failed.
func (a *attempts) addFailed(candidate Candidate, err error) {
	a.texts = append(a.texts, candidate.Registry+" (pull failed: "+cause(err, candidate.Reference)+")")
	a.pullErr = err
}

// isEmpty reports whether there were no attempts.
func (a *attempts) isEmpty() bool { return len(a.texts) == 0 }

// hasFailures reports whether a registry may have the image: it could not be asked, or its
// pull has failed.
func (a *attempts) hasFailures() bool { return a.lookupFailed || a.pullErr != nil }

// String lists the attempts in one line of bounded length.
func (a *attempts) String() string {
	var list strings.Builder
	for i, text := range a.texts {
		if i > 0 && list.Len()+len(text) > textLimit {
			fmt.Fprintf(&list, ", and %d more", len(a.texts)-i)
			break
		}
		if i > 0 {
			list.WriteString(", ")
		}
		list.WriteString(text)
	}
	return list.String()
}

// explain appends the attempts to the runtime's error. Its code, its details
// and the beginning of its text stay: kubelet compares them
// (evalCRIPullErr in kubernetes/pkg/kubelet/images).
func (a *attempts) explain(err error, introduction string) error {
	return a.append(err, "; image-cri-shim "+introduction)
}

// append appends the attempts after an introduction to the text of an error, and to
// the text that was appended before.
func (a *attempts) append(err error, introduction string) error {
	failure, ok := status.FromError(err)
	if !ok || a.isEmpty() {
		return err
	}
	appended := introduction + ": " + a.String()
	explained := failure.Proto()
	explained.Message += appended
	if earlier, ok := errors.AsType[*explainedError](err); ok {
		appended = earlier.appended + appended
	}
	return &explainedError{status: status.FromProto(explained), appended: appended}
}

// explainedError is a runtime's error to whose text the shim has appended one of its own.
// The latter may be cut on the way to a client, the former may not.
type explainedError struct {
	status   *status.Status
	appended string
}

func (e *explainedError) Error() string { return e.status.Err().Error() }

// GRPCStatus returns the status with the whole text.
func (e *explainedError) GRPCStatus() *status.Status { return e.status }

// Appended returns the end of the text that is not the runtime's.
func (e *explainedError) Appended() string { return e.appended }

// refusal is the error of a pull that may not go on to the original registry.
// Where a pull has failed it is the runtime's, otherwise it is the shim's own:
// NotFound if each registry lacks the image. If one could not be asked it begins
// as kubelet wants it for the reason RegistryUnavailable (k8s.io/cri-api/pkg/errors;
// kubelet takes the code Unknown off before it compares).
func (a *attempts) refusal(original string) error {
	const rule = "fallback: never"
	original = printable.Line(original, lineLimit) // the grammar does not bound a registry's host
	switch {
	case a.pullErr != nil:
		return a.explain(a.pullErr, "does not go on to the original registry ("+rule+"), tried")
	case a.isEmpty():
		return status.Errorf(codes.NotFound, "image-cri-shim: no registry is configured for %s, and its own is not to be asked (%s)", original, rule)
	case a.lookupFailed:
		return status.Errorf(codes.Unknown, "RegistryUnavailable: image-cri-shim: %s is not to be pulled from its own registry (%s), tried: %s", original, rule, a)
	default:
		return status.Errorf(codes.NotFound, "image-cri-shim: no configured registry has %s, and its own is not to be asked (%s), tried: %s", original, rule, a)
	}
}

// cause is what a runtime's error ends with: runtimes begin with what they were
// about to do, and name the reference in each step of it.
func cause(err error, reference string) string {
	text := strings.Join(strings.Fields(status.Convert(err).Message()), " ")
	if last := strings.LastIndex(text, reference+`": `); last >= 0 {
		text = text[last+len(reference+`": `):]
	}
	const limit = 120
	if len(text) > limit {
		const ellipsis = "..."
		text = ellipsis + strings.ToValidUTF8(text[len(text)-limit+len(ellipsis):], "")
	}
	return text
}
