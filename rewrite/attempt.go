package rewrite

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/cri"
)

// stallTime is how long a pull must have run to count as stalled if a timeout of the runtime
// ends it. containerd waits 30 seconds for an answer to begin
// (core/remotes/docker/registry.go), which is not a stall, and at least a minute for progress
// (image_pull_progress_timeout).
const stallTime = 45 * time.Second

// attempt pulls from a registry, and reports the result to the [Lookup] if it depends on the
// registry. The time is limited if hasSuccessor reports that another attempt can follow.
func (p *pull) attempt(ctx context.Context, answer Answer, hasSuccessor func() bool) ([]byte, error) {
	begun := time.Now()
	bounded, release := p.bound(ctx, hasSuccessor)
	response, sent, err := p.pullCandidate(bounded, answer)
	release()
	took, cutOff := time.Since(begun), cri.IsTimeout(err) && context.Cause(bounded) == errCutOff
	if cutOff {
		err = status.Errorf(codes.DeadlineExceeded, "stopped after %v to leave time for the next attempt", took.Round(time.Millisecond))
	}
	p.runtimeDown = p.runtimeDown || p.isRuntimeDown(ctx, err)
	switch {
	case err == nil:
		p.lookup.Pulled(answer.Candidate)
	case ctx.Err() != nil || p.runtimeDown || !sent:
	case p.isStalled(err, took, cutOff):
		p.lookup.Failed(answer.Candidate, took)
	default:
		p.lookup.Failed(answer.Candidate, 0)
	}
	return response, err
}

// errCutOff is the cancellation cause of an attempt that has exceeded its share of the time.
var errCutOff = status.Error(codes.DeadlineExceeded, "the attempt exceeded its share of the timeout")

// bound returns a context for an attempt. The context is cancelled with errCutOff when the
// attempt's share of the remaining time has passed, if hasSuccessor then reports true. The
// remaining time ends at the deadline of the pull or of the caller, whichever is earlier. The
// caller must call release when the attempt has ended.
func (p *pull) bound(ctx context.Context, hasSuccessor func() bool) (bounded context.Context, release func()) {
	bounded, cancel := context.WithCancelCause(ctx)
	deadline := p.deadline
	if callers, set := ctx.Deadline(); set && (deadline.IsZero() || callers.Before(deadline)) {
		deadline = callers
	}
	if deadline.IsZero() {
		return bounded, func() { cancel(nil) }
	}
	checked := make(chan struct{})
	timer := time.AfterFunc(attemptShare(time.Until(deadline)), func() {
		defer close(checked)
		if hasSuccessor() {
			cancel(errCutOff)
		}
	})
	return bounded, func() {
		if !timer.Stop() {
			<-checked
		}
		cancel(nil)
	}
}

// attemptShare returns how much of the remaining time one of several attempts may use. It
// leaves a tenth, but at most a minute, for the others, in case the registry answers lookups
// and then hangs.
func attemptShare(remaining time.Duration) time.Duration {
	return remaining - min(time.Minute, remaining/10)
}

// isStalled reports whether a failed pull counts as stalled: it was cut off after at least a
// quarter of the timeout for all attempts, or a timeout of the runtime ended it after
// stallTime.
func (p *pull) isStalled(err error, took time.Duration, cutOff bool) bool {
	if cutOff {
		return p.timeout > 0 && took >= p.timeout/4
	}
	return cri.IsTimeout(err) && took >= stallTime
}

// isRuntimeDown reports whether err is Unavailable because the runtime has stopped or is
// still starting. An error of a registry may have the same code, so isRuntimeDown makes
// another call, which a running runtime answers.
func (p *pull) isRuntimeDown(ctx context.Context, err error) bool {
	if status.Code(err) != codes.Unavailable {
		return false
	}
	_, err = p.runtime.ImageStatus(ctx, p.name.String())
	return status.Code(err) == codes.Unavailable
}
