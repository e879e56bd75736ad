package rewrite

import (
	"context"

	"github.com/distribution/reference"
	"google.golang.org/grpc/status"
)

// pullOriginal pulls from the registry in the name, unless that is forbidden or has
// just failed. It is never cut off: it is the pull that would run without the shim.
func (p *pull) pullOriginal(ctx context.Context, decision *Decision) ([]byte, error) {
	switch {
	case p.ownErr != nil:
		decision.Reason = p.reason("its own registry has failed")
		return p.tryLastResorts(ctx, decision, p.ownErr, p.tried.explain(p.ownErr, "tried"))
	case p.withCallersAuth:
		decision.Reason = p.reason("asked for by its own name, with the caller's credentials")
	case !p.lookup.MayFallBack(p.name):
		decision.Reason = p.reason("fallback: never")
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		decision.Outcome = OutcomeRefused
		return nil, p.tried.refusal(p.name.String())
	case p.tried.isEmpty():
		decision.Reason = "no registry stands in for it"
	default:
		decision.Reason = p.reason("the original")
	}
	response, err := p.pullByOwnName(ctx, p.encoded)
	if err != nil {
		explained := p.tried.explain(err, "tried before")
		if len(p.lastResort) > 0 {
			p.tried.addFailed(Candidate{Registry: reference.Domain(p.name), Reference: p.name.String()}, err)
		}
		return p.tryLastResorts(ctx, decision, err, explained)
	}
	decision.Served, decision.Registry, decision.Outcome = p.name.String(), reference.Domain(p.name), p.originalOutcome()
	return response, nil
}

// tryLastResorts pulls from the candidates that are a last resort, after the original has
// failed with failure. If these fail too, it returns explained, which is failure with the
// attempts.
func (p *pull) tryLastResorts(ctx context.Context, decision *Decision, failure, explained error) ([]byte, error) {
	if len(p.lastResort) == 0 || ctx.Err() != nil || p.isRuntimeDown(ctx, failure) {
		return nil, explained
	}
	before := len(p.tried.texts)
	for i, answer := range p.lastResort {
		response, ended, err := p.tryRegistry(ctx, answer, decision, func() bool { return i < len(p.lastResort)-1 })
		if err == nil {
			return response, nil
		}
		if ended {
			break
		}
	}
	decision.Reason = p.reason("the original and the last resort after it have failed")
	after := attempts{texts: p.tried.texts[before:]}
	return nil, after.append(explained, ", and after it")
}

// originalFollows reports whether the original is pulled from if the attempt at a
// candidate fails.
func (p *pull) originalFollows(answer Answer) bool {
	return p.ownErr == nil && answer.Reference != p.name.String() && p.lookup.MayFallBack(p.name)
}

// originalOutcome returns the reason for a pull from the original registry.
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
