package cri

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// EndsCall reports whether an error of the runtime ends the client's call, because another
// request to the runtime would fail too.
func EndsCall(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		return true
	}
	return false
}

// IsTimeout reports whether a call was cancelled or exceeded its deadline.
func IsTimeout(err error) bool {
	code := status.Code(err)
	return code == codes.DeadlineExceeded || code == codes.Canceled
}
