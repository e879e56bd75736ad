package proxy

import (
	"context"
	"errors"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/frames"
)

// statusOfEnd returns the status of a call that has ended with err. A call that was cancelled
// after its deadline has ended for the deadline: the client, the shim and the runtime notice
// it at different moments, and the first of them resets the stream. The zero deadline is none.
func statusOfEnd(err error, deadline time.Time) error {
	if !deadline.IsZero() && status.Code(err) == codes.Canceled && !time.Now().Before(deadline) {
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return err
}

// statusOfFailure returns the status of a call that was cut off by err, before its own status
// came. The end of ctx takes precedence, since it may have caused err.
func statusOfFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	if errors.Is(err, frames.ErrTooLarge) || errors.Is(err, frames.ErrAnswerTooLarge) {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	if reset, ok := errors.AsType[frames.ResetError](err); ok {
		if deadline, set := ctx.Deadline(); set && reset.Code == http2.ErrCodeCancel && time.Until(deadline) < deadlineTolerance {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		return status.Error(resetCode(reset.Code), err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Errorf(codes.Unavailable, "the runtime can't be asked: %v", err)
}

// deadlineTolerance bounds how much earlier than the shim the runtime may notice a deadline
// and cancel the call.
const deadlineTolerance = 10 * time.Millisecond

// resetCode is the code of a call whose stream was reset (gRPC over HTTP/2, "HTTP2
// Transport Mapping", Errors).
func resetCode(code http2.ErrCode) codes.Code {
	switch code {
	case http2.ErrCodeRefusedStream:
		return codes.Unavailable
	case http2.ErrCodeCancel:
		return codes.Canceled
	case http2.ErrCodeEnhanceYourCalm:
		return codes.ResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		return codes.PermissionDenied
	default:
		return codes.Internal
	}
}
