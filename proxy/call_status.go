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

// statusOfEnd returns the final status of a call that ended with err. If the call was canceled
// after its deadline, the status is DeadlineExceeded: the client, the shim and the runtime
// notice a deadline at different moments, and the first of them resets the stream. A zero
// deadline means none.
func statusOfEnd(err error, deadline time.Time) error {
	if !deadline.IsZero() && status.Code(err) == codes.Canceled && !time.Now().Before(deadline) {
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return err
}

// errRuntimeDisconnected is the status of a call whose connection to the runtime has ended.
var errRuntimeDisconnected = status.Error(codes.Unavailable, "connection to the runtime closed")

// statusOfFailure returns the status of a call that failed with err before its own status
// arrived. If ctx is done, its error takes precedence, since it may have caused err.
func statusOfFailure(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), frames.ErrServerDisconnected) {
		return errRuntimeDisconnected
	}
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
	return status.Errorf(codes.Unavailable, "runtime unavailable: %v", err)
}

// deadlineTolerance bounds how much earlier than the shim the runtime may notice a deadline and
// cancel the call.
const deadlineTolerance = 10 * time.Millisecond

// resetCode returns the gRPC code of a call that ends with a reset of its stream (gRPC over
// HTTP/2, "HTTP2 Transport Mapping", Errors).
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
