package fleet

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/printable"
)

const (
	pageSize = 500 // objects, as kubectl get
	// maxPasses is the maximum number of times that a list is begun. A list is begun again if
	// the apiserver forgets the revision that it was begun with, and offers no continuation.
	maxPasses = 3
)

// eachPage reads a list page by page with list, which returns the metadata of a page. It calls
// begin before the first page, and again if the list has to be read from the start, so that begin
// must discard the results so far.
//
// An expired token is not an error: the apiserver offers a token that continues after the last
// object in a newer state of the cluster. So objects that are created or deleted meanwhile may be
// missing, but none appears twice.
func eachPage(ctx context.Context, options metav1.ListOptions, begin func(), list func(context.Context, metav1.ListOptions) (*metav1.ListMeta, error)) error {
	options.Limit = pageSize
	begin()
	for passes := 1; ; {
		page, err := list(ctx, options)
		switch {
		case err == nil && page.Continue == "":
			return nil
		case err == nil:
			options.Continue = page.Continue
		case !apierrors.IsResourceExpired(err) || options.Continue == "":
			return err
		default:
			offered := continuation(err)
			if options.Continue = offered; offered != "" {
				continue
			}
			if passes == maxPasses {
				return err
			}
			passes++
			begin()
		}
	}
}

// listError is the error of a list. Its text has the message of the apiserver, or of a proxy before
// it, on one short line, so that it can neither control a terminal nor look like a hint.
type listError struct {
	objects string
	cause   error
}

func (e *listError) Error() string {
	return "list " + e.objects + ": " + printable.Error(e.cause, 1000)
}
func (e *listError) Unwrap() error { return e.cause }

// continuation returns the token that the apiserver offers for an expired one, or "".
func continuation(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return status.ErrStatus.Continue
	}
	return ""
}
