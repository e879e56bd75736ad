package rewrite

import (
	"context"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pullOriginal pulls from the original registry, unless that is forbidden or has just failed.
// The pull is never cut off, because it is the one that would run without the shim.
func (p *pull) pullOriginal(ctx context.Context, decision *Decision) ([]byte, error) {
	switch {
	case p.ownErr != nil:
		decision.Reason = p.reason("the original registry failed")
		return p.tryLastResorts(ctx, decision, p.ownErr, p.tried.explain(p.ownErr, "tried", p.appendedLimit()))
	case p.withCallersAuth:
		decision.Reason = p.reason("the original registry, with the caller's credentials")
	case !p.lookup.MayFallBack(p.name):
		decision.Reason = p.reason("fallback: never")
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		decision.Outcome = OutcomeRefused
		return nil, p.tried.refusal(p.name.String())
	case p.tried.isEmpty():
		decision.Reason = "no registry is configured for it"
	default:
		decision.Reason = p.reason("the original registry")
	}
	response, err := p.pullByOwnName(ctx, p.encoded)
	if err != nil {
		decision.Reason = p.reason(p.failureReason(ctx, err))
		explained := p.tried.explain(err, "tried before", p.appendedLimit())
		if len(p.lastResort) > 0 {
			p.tried.addFailed(Candidate{Registry: reference.Domain(p.name), Reference: p.name.String()}, err)
		}
		return p.tryLastResorts(ctx, decision, err, explained)
	}
	decision.Served, decision.Registry, decision.Outcome = p.name.String(), reference.Domain(p.name), p.originalOutcome()
	return response, nil
}

// failureReason returns the reason of a decision whose pull from the original registry failed
// with err.
func (p *pull) failureReason(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return "the call was cancelled or timed out"
	case status.Code(err) == codes.Unavailable:
		return "the runtime or the original registry is unavailable"
	case p.withCallersAuth:
		return "the original registry failed, with the caller's credentials"
	case p.tried.isEmpty():
		return "the original registry failed, and no other is configured for it"
	}
	return "the original registry failed"
}

// tryLastResorts pulls from the candidates that are a last resort, after the original registry
// has failed with failure. If they fail too, it returns explained, which is failure with the
// earlier attempts, and appends the later ones.
func (p *pull) tryLastResorts(ctx context.Context, decision *Decision, failure, explained error) ([]byte, error) {
	if len(p.lastResort) == 0 || ctx.Err() != nil || p.isRuntimeDown(ctx, failure) {
		return nil, explained
	}
	before := len(p.tried.failed)
	for i, answer := range p.lastResort {
		response, ended, err := p.tryRegistry(ctx, answer, decision, func() bool { return i < len(p.lastResort)-1 })
		if err == nil {
			return response, nil
		}
		if ended {
			break
		}
	}
	decision.Reason = p.reason("the original registry and the last resorts failed")
	after := attempts{failed: p.tried.failed[before:]}
	return nil, after.append(explained, ", and after it", appendedLimit)
}

// appendedLimit returns the limit of the attempts in an error of the original registry. It
// leaves half of the space for the last resorts.
func (p *pull) appendedLimit() int {
	if len(p.lastResort) > 0 {
		return appendedLimit / 2
	}
	return appendedLimit
}

// originalFollows reports whether a pull from the original registry follows if the pull of a
// candidate fails.
func (p *pull) originalFollows(answer Answer) bool {
	return p.ownErr == nil && answer.Reference != p.name.String() && p.lookup.MayFallBack(p.name)
}

// originalOutcome returns the outcome of a successful pull from the original registry.
func (p *pull) originalOutcome() Outcome {
	switch {
	case p.tried.hasFailures():
		return OutcomeFallback
	case p.tried.isEmpty() || p.withCallersAuth:
		return OutcomeOriginal
	default:
		return OutcomeAbsent
	}
}
