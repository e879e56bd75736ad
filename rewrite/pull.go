package rewrite

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pullImage pulls from the best registry that has the image, from the next one
// where that fails, and at last from the original with the request as it came,
// if that is allowed.
func (c call) pullImage(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.PullImageRequest{}
	if err := proto.Unmarshal(encoded, request); err != nil {
		return c.pullUnread(ctx, encoded, "", err)
	}
	name, err := Parse(request.GetImage().GetImage())
	if err != nil {
		return c.pullUnread(ctx, encoded, request.GetImage().GetImage(), err)
	}
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	start := time.Now()
	p := pull{call: c, request: request, encoded: encoded, name: name}
	decision := Decision{Method: "PullImage", Asked: oneLine(request.Image.Image)}
	response, err := p.run(ctx, &decision)
	decision.Duration, decision.Err = time.Since(start), err
	if err != nil && decision.Outcome == "" {
		decision.Outcome = OutcomeFailed
	}
	c.decided(ctx, decision)
	return response, err
}

// pullUnread leaves it to the runtime what to pull, if it may pull from anywhere:
// what is no name to the shim may be one to the runtime.
func (c call) pullUnread(ctx context.Context, encoded []byte, image string, problem error) ([]byte, error) {
	if MayFallBack(image, c.lookup.MayFallBack) {
		return c.forwardPull(ctx, encoded)
	}
	err := status.Errorf(codes.InvalidArgument, "image-cri-shim: no configured registry can have it, and no other is to be asked (fallback: never): %s", oneLine(problem.Error()))
	c.decided(ctx, Decision{Method: "PullImage", Asked: oneLine(image), Reason: "fallback: never", Outcome: OutcomeRefused, Err: err})
	return nil, err
}

// MayFallBack tells of what a client has written whether the runtime may pull it
// from where it says, by the rules for names (see [Lookup]). What is no name falls
// under two of them: containerd takes the ID sha256:1234 for
// docker.io/library/sha256:1234 (ParseDockerRef).
func MayFallBack(image string, rule func(reference.Named) bool) bool {
	name, err := Parse(image)
	if err == nil {
		return rule(name)
	}
	read, err := reference.ParseDockerRef(image)
	return rule(nil) && (err != nil || rule(read))
}

// pull is one PullImage.
type pull struct {
	call
	request *runtime.PullImageRequest
	encoded []byte // request as it came
	name    reference.Named
	tried   attempts
	itself  bool  // the original is on a registry's own host, and the caller brings credentials
	own     error // of a pull of the name itself with its registry's credentials
	away    bool  // the runtime is
}

func (p *pull) run(ctx context.Context, decision *Decision) ([]byte, error) {
	for answer := range p.lookup.Find(ctx, p.name) {
		if p.itself = p.meansItself(answer.Candidate); p.itself {
			break // the original request says it all
		}
		if !answer.Found {
			p.tried.unanswered(answer)
			continue
		}
		response, err := p.attempt(ctx, answer)
		if err == nil {
			decision.Served, decision.Registry = answer.Reference, answer.Registry
			decision.Reason, decision.Outcome = p.reason("the registry has it"), OutcomeRegistry
			return response, nil
		}
		if p.away {
			decision.Reason = p.reason("the runtime is unavailable")
			return nil, err
		}
		p.tried.failed(answer.Candidate, err)
		if ctx.Err() != nil {
			decision.Reason = p.reason("stopped")
			return nil, err
		}
		if answer.Reference == p.name.String() {
			p.own = err
		}
	}
	return p.original(ctx, decision)
}

// original pulls from the registry in the name, unless that is forbidden or has
// just failed.
func (p *pull) original(ctx context.Context, decision *Decision) ([]byte, error) {
	switch {
	case p.own != nil:
		decision.Reason = p.reason("its own registry has failed")
		return nil, p.tried.explain(p.own, "tried")
	case p.itself:
		decision.Reason = p.reason("asked for by its own name, with the caller's credentials")
	case !p.lookup.MayFallBack(p.name):
		decision.Reason = p.reason("fallback: never")
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		decision.Outcome = OutcomeRefused
		return nil, p.tried.refusal(p.name.String())
	case p.tried.none():
		decision.Reason = "no registry stands in for it"
	default:
		decision.Reason = p.reason("the original")
	}
	response, err := p.asItself(ctx, p.encoded)
	if err != nil {
		return nil, p.tried.explain(err, "tried before")
	}
	decision.Served, decision.Registry, decision.Outcome = p.name.String(), reference.Domain(p.name), p.fallback()
	return response, nil
}

// fallback is why the original registry serves it.
func (p *pull) fallback() Outcome {
	switch {
	case p.tried.inVain():
		return OutcomeFallback
	case p.tried.none() || p.itself:
		return OutcomeOriginal
	default:
		return OutcomeAbsent
	}
}

// reason is why it ended as it did, with what came to nothing before.
func (p *pull) reason(end string) string {
	if p.tried.none() {
		return end
	}
	return end + "; before it " + p.tried.String()
}

// meansItself tells the candidate that is the original with the caller's own
// credentials: these are meant for that registry, and take precedence.
func (p *pull) meansItself(candidate Candidate) bool {
	return candidate.Reference == p.name.String() && p.request.Auth != nil
}

// attempt pulls from a registry, within its share of the time, and tells the
// look-up what came of it, where that says something about the registry.
func (p *pull) attempt(ctx context.Context, answer Answer) ([]byte, error) {
	begun := time.Now()
	bounded, cancel := share(ctx)
	defer cancel()
	response, sent, err := p.from(bounded, answer)
	took := time.Since(begun)
	p.away = p.away || p.isRuntimes(ctx, err)
	switch {
	case err == nil:
		p.lookup.Pulled(answer.Candidate)
	case ctx.Err() != nil || p.away || !sent:
	case isOutOfTime(err) && took >= p.timeout/4:
		p.lookup.Failed(answer.Candidate, took)
	default:
		p.lookup.Failed(answer.Candidate, 0)
	}
	return response, err
}

// isRuntimes tells the errors that say nothing about a registry: the runtime has
// gone, or is only starting. It does not say so of anything else then either; what
// it repeats of a registry may have the same code.
func (p *pull) isRuntimes(ctx context.Context, err error) bool {
	if status.Code(err) != codes.Unavailable {
		return false
	}
	_, err = p.runtime.status(ctx, p.name.String())
	return status.Code(err) == codes.Unavailable
}

// isOutOfTime tells that a pull was given up: its share of the time was used up,
// or one of the runtime's own time-outs. (containerd has one for a pull without
// progress, image_pull_progress_timeout, and one of 30 seconds for an answer to
// begin, core/remotes/docker/registry.go, which is too soon to say much.)
func isOutOfTime(err error) bool {
	code := status.Code(err)
	return code == codes.DeadlineExceeded || code == codes.Canceled
}

// share bounds one of several attempts so that a registry that answers look-ups
// and then hangs leaves some time for the others: a tenth, and a minute at most.
func share(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, set := ctx.Deadline()
	if !set {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Minute, time.Until(deadline)/10)))
}

// from pulls a candidate with its registry's credentials, and records the name.
// sent reports whether the runtime was asked to pull: an error before that says
// nothing about the registry.
func (p *pull) from(ctx context.Context, answer Answer) (response []byte, sent bool, err error) {
	candidate := answer.Candidate
	request := proto.CloneOf(p.request)
	request.Image.Image = candidate.Reference
	// The caller's credentials were meant for another registry.
	request.Auth = answer.Credentials.auth()
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, false, err
	}
	if candidate.Reference == p.name.String() {
		response, err = p.asItself(ctx, encoded)
		return response, true, err
	}
	defer p.ledger.withdraw(candidate.Reference)
	before, err := p.announce(ctx, candidate.Reference)
	if err != nil {
		p.away = status.Code(err) == codes.Unavailable // no registry was asked yet
		return nil, false, err
	}
	response, err = p.forwardPull(ctx, encoded)
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if err != nil {
		p.recordFailed(ctx, candidate.Reference, before)
		return nil, true, err
	}
	p.recordMoved(ctx, candidate, before, response)
	return response, true, nil
}

// asItself sends a request for the asked name: as it came, or with the registry's
// credentials.
func (p *pull) asItself(ctx context.Context, encoded []byte) ([]byte, error) {
	response, err := p.forwardPull(ctx, encoded)
	if err != nil {
		return nil, err
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	p.recordOwn(ctx)
	return response, nil
}
