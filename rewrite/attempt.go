package rewrite

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/cri"
)

// stallTime is how long a pull must have run to count as stalled when one of the
// runtime's own time-outs ends it. containerd waits 30 seconds for an answer to
// begin (core/remotes/docker/registry.go), which says little, and at least a
// minute for progress (image_pull_progress_timeout).
const stallTime = 45 * time.Second

// attempt pulls from a registry, and tells the look-up how that ended if it says
// something about the registry. While hasSuccessor reports that another attempt
// can follow, the time is bounded.
func (p *pull) attempt(ctx context.Context, answer Answer, hasSuccessor func() bool) ([]byte, error) {
	begun := time.Now()
	bounded, release := p.bound(ctx, hasSuccessor)
	response, sent, err := p.pullCandidate(bounded, answer)
	release()
	took, cutOff := time.Since(begun), cri.IsTimeout(err) && context.Cause(bounded) == errCutOff
	if cutOff {
		err = status.Errorf(codes.DeadlineExceeded, "gave up after %v for the next attempt", took.Round(time.Millisecond))
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

// errCutOff is the cause of a context whose attempt has used up its time.
var errCutOff = status.Error(codes.DeadlineExceeded, "the attempt has used up its time")

// bound returns a context for an attempt. The attempt is cut off when its share of
// the time until the deadline, the pull's or the caller's, has passed and
// hasSuccessor returns true. The caller must call release when it has ended.
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

// attemptShare returns the part of the remaining time that one of several attempts may use:
// a registry that answers look-ups and then hangs leaves a tenth, and a minute at most, for
// the others.
func attemptShare(remaining time.Duration) time.Duration {
	return remaining - min(time.Minute, remaining/10)
}

// isStalled reports whether a pull that failed had run for long without an end: it
// was cut off after a good part of the time for all attempts, or one of the
// runtime's own time-outs ended it.
func (p *pull) isStalled(err error, took time.Duration, cutOff bool) bool {
	if cutOff {
		return p.timeout > 0 && took >= p.timeout/4
	}
	return cri.IsTimeout(err) && took >= stallTime
}

// isRuntimeDown reports whether an error does not concern a registry because the runtime is
// stopped or is still starting. The runtime then refuses other calls too; an error of a
// registry that it repeats may have the same code.
func (p *pull) isRuntimeDown(ctx context.Context, err error) bool {
	if status.Code(err) != codes.Unavailable {
		return false
	}
	_, err = p.runtime.ImageStatus(ctx, p.name.String())
	return status.Code(err) == codes.Unavailable
}
