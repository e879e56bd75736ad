package cri

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// EndsCall reports whether an error of the runtime ends the whole call of a client: another
// question to the runtime would fail too.
func EndsCall(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		return true
	}
	return false
}

// IsTimeout reports whether a call has failed at its deadline, or was cancelled.
func IsTimeout(err error) bool {
	code := status.Code(err)
	return code == codes.DeadlineExceeded || code == codes.Canceled
}
