package rewrite

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
)

// attempts lists the registries that did not serve a pull. The text is appended to an error,
// and so appears in the pod's event, of which kubelet keeps 1024 bytes.
type attempts struct {
	texts        []string
	lookupFailed bool  // a lookup failed
	pullErr      error // the runtime's error of the last failed pull
}

const (
	textLimit = 400 // limit of the list, in bytes
	lineLimit = 300 // limit of a name or reason in it, in bytes
)

// addSkipped adds a registry that the shim does not pull from.
func (a *attempts) addSkipped(answer Answer) {
	a.texts = append(a.texts, answer.Registry+" ("+printable.Line(answer.Reason, lineLimit)+")")
	a.lookupFailed = a.lookupFailed || !answer.Absent
}

// addFailed adds a registry after a failed pull.
func (a *attempts) addFailed(candidate Candidate, err error) {
	a.texts = append(a.texts, candidate.Registry+" (pull failed: "+cause(err, candidate.Reference)+")")
	a.pullErr = err
}

// isEmpty reports whether no registry was added.
func (a *attempts) isEmpty() bool { return len(a.texts) == 0 }

// hasFailures reports whether any lookup or pull failed. If so, a registry may have the image.
func (a *attempts) hasFailures() bool { return a.lookupFailed || a.pullErr != nil }

// String returns the list in one line of limited length.
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

// explain appends the attempts to an error of the runtime. It keeps the code, the details and
// the beginning of the text, because kubelet compares them (evalCRIPullErr in
// kubernetes/pkg/kubelet/images).
func (a *attempts) explain(err error, introduction string) error {
	return a.append(err, "; image-cri-shim "+introduction)
}

// append appends an introduction and the attempts to the text of an error. The error keeps
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
		return a.explain(a.pullErr, "may not use the original registry ("+rule+"), tried")
	case a.isEmpty():
		return status.Errorf(codes.NotFound, "image-cri-shim: no registry is configured for %s, and the original registry may not be used (%s)", original, rule)
	case a.lookupFailed:
		return status.Errorf(codes.Unknown, "RegistryUnavailable: image-cri-shim: %s may not be pulled from its original registry (%s), tried: %s", original, rule, a)
	default:
		return status.Errorf(codes.NotFound, "image-cri-shim: no configured registry has %s, and the original registry may not be used (%s), tried: %s", original, rule, a)
	}
}

// cause returns the end of a runtime's error, which has the cause. Runtimes put the operations
// before it, and repeat the reference in each of them.
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
