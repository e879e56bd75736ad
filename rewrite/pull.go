package rewrite

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/printable"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// pullImage pulls from the best registry that has the image, from the next one
// where that fails, and at last from the original with the request as it came,
// if that is allowed.
func (c call) pullImage(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.PullImageRequest{}
	if err := proto.Unmarshal(encoded, request); err != nil {
		return c.pullUnread(ctx, encoded, "", err)
	}
	name, err := imagename.Parse(request.GetImage().GetImage())
	if err != nil {
		return c.pullUnread(ctx, encoded, request.GetImage().GetImage(), err)
	}
	start := time.Now()
	p := pull{call: c, request: request, encoded: encoded, name: name}
	if c.timeout > 0 {
		p.deadline = start.Add(c.timeout)
	}
	decision := Decision{Method: "PullImage", Asked: printable.Line(request.Image.Image, lineLimit)}
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
	err := status.Errorf(codes.InvalidArgument, "image-cri-shim: no configured registry can have it, and no other is to be asked (fallback: never): %s", printable.Line(problem.Error(), lineLimit))
	c.decided(ctx, Decision{Method: "PullImage", Asked: printable.Line(image, lineLimit), Reason: "fallback: never", Outcome: OutcomeRefused, Err: err})
	return nil, err
}

// MayFallBack tells of what a client has written whether the runtime may pull it
// from where it says, by the rules for names (see [Lookup]). What is no name falls
// under two of them: containerd takes the ID sha256:1234 for
// docker.io/library/sha256:1234 (ParseDockerRef).
func MayFallBack(image string, rule func(reference.Named) bool) bool {
	name, err := imagename.Parse(image)
	if err == nil {
		return rule(name)
	}
	read, err := reference.ParseDockerRef(image)
	return rule(nil) && (err != nil || rule(read))
}

// pull is one PullImage.
type pull struct {
	call
	request    *runtime.PullImageRequest
	encoded    []byte // request as it came
	name       reference.Named
	deadline   time.Time // of the attempts that another one can follow; zero for none
	tried      attempts
	lastResort []Answer    // to be tried after the original
	itself     bool        // the original is on a registry's own host, and the caller brings credentials
	own        error       // of a pull of the name itself with its registry's credentials
	away       bool        // the runtime is
	names      naming.Mode // where the name of the pulled image is kept; empty if it is the asked one
}

// run pulls from the candidates in their order, then from the original, then from
// the candidates that are a last resort behind it.
func (p *pull) run(ctx context.Context, decision *Decision) ([]byte, error) {
	queue := newAnswers(p.lookup.Find(ctx, p.name))
	defer queue.stop()
	for answer, ok := queue.next(); ok; answer, ok = queue.next() {
		if p.itself = p.meansItself(answer.Candidate); p.itself {
			break // the original request says it all
		}
		switch {
		case !answer.Found:
			p.tried.unanswered(answer)
			continue
		case answer.LastResort && p.lookup.MayFallBack(p.name):
			p.tried.unanswered(answer)
			p.lastResort = append(p.lastResort, answer)
			continue
		}
		response, ended, err := p.try(ctx, answer, decision, func() bool {
			return p.originalFollows(answer) || queue.has(p.canFollow)
		})
		if ended {
			return response, err
		}
		if answer.Reference == p.name.String() {
			p.own = err
		}
	}
	return p.original(ctx, decision)
}

// try pulls from a registry. It reports whether the pull as a whole has ended,
// with an image or without.
func (p *pull) try(ctx context.Context, answer Answer, decision *Decision, hasSuccessor func() bool) (response []byte, ended bool, err error) {
	response, err = p.attempt(ctx, answer, hasSuccessor)
	if err == nil {
		decision.Served, decision.Registry = answer.Reference, answer.Registry
		decision.Reason, decision.Outcome = p.reason("the registry has it"), OutcomeRegistry
		decision.Names = p.names
		return response, true, nil
	}
	if p.away {
		decision.Reason = p.reason("the runtime is unavailable")
		return nil, true, err
	}
	p.tried.failed(answer.Candidate, err)
	if ctx.Err() != nil {
		decision.Reason = p.reason("stopped")
	}
	return nil, ctx.Err() != nil, err
}

// original pulls from the registry in the name, unless that is forbidden or has
// just failed. It is never cut off: it is the pull that would run without the shim.
func (p *pull) original(ctx context.Context, decision *Decision) ([]byte, error) {
	switch {
	case p.own != nil:
		decision.Reason = p.reason("its own registry has failed")
		return p.afterOriginal(ctx, decision, p.own, p.tried.explain(p.own, "tried"))
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
		explained := p.tried.explain(err, "tried before")
		if len(p.lastResort) > 0 {
			p.tried.failed(Candidate{Registry: reference.Domain(p.name), Reference: p.name.String()}, err)
		}
		return p.afterOriginal(ctx, decision, err, explained)
	}
	decision.Served, decision.Registry, decision.Outcome = p.name.String(), reference.Domain(p.name), p.fallback()
	return response, nil
}

// afterOriginal pulls from the candidates that are a last resort. If these fail
// too, the answer is the original's failure, which explained is the text of.
func (p *pull) afterOriginal(ctx context.Context, decision *Decision, failure, explained error) ([]byte, error) {
	if len(p.lastResort) == 0 || ctx.Err() != nil || p.isRuntimes(ctx, failure) {
		return nil, explained
	}
	before := len(p.tried.texts)
	for i, answer := range p.lastResort {
		response, ended, err := p.try(ctx, answer, decision, func() bool { return i < len(p.lastResort)-1 })
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
	return p.own == nil && answer.Reference != p.name.String() && p.lookup.MayFallBack(p.name)
}

// canFollow reports whether an answer leads to another attempt.
func (p *pull) canFollow(answer Answer) bool {
	return answer.Found || p.meansItself(answer.Candidate)
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
	named, err := p.namer.BeginPull(ctx, ledger.Origin{Original: p.name.String(), Stored: candidate.Reference, Registry: candidate.Registry})
	switch {
	case err != nil:
		p.away = status.Code(err) == codes.Unavailable // no registry was asked yet
		return nil, false, err
	case named != nil:
		response, err = p.pullNamed(ctx, named, candidate.Reference, encoded)
		return response, true, err
	}
	visible, err := p.beginPull(ctx, answer)
	if err != nil {
		p.away = status.Code(err) == codes.Unavailable // no registry was asked yet
		return nil, false, err
	}
	defer p.ledger.EndPull(candidate.Reference)
	response, err = p.forwardPull(ctx, encoded)
	ctx, cancel := cri.Detached(ctx, recordTimeout)
	defer cancel()
	if err != nil {
		p.recordFailed(ctx, candidate.Reference, visible)
		return nil, true, err
	}
	p.recordMoved(ctx, candidate, visible, response)
	p.names = naming.InLedger
	return response, true, nil
}

// pullNamed pulls an image that gets the asked name in the runtime.
func (p *pull) pullNamed(ctx context.Context, named *naming.Pull, reference string, encoded []byte) ([]byte, error) {
	response, err := p.forwardPull(ctx, encoded)
	if err != nil {
		named.Fail(ctx, err)
		return nil, err
	}
	pulled := &runtime.PullImageResponse{}
	if err := proto.Unmarshal(response, pulled); err != nil {
		p.warn(fmt.Errorf("read the answer to the pull of %s: %w", p.name, err))
	}
	p.names = named.Complete(ctx, cmp.Or(pulled.ImageRef, reference))
	return response, nil
}

// asItself sends a request for the asked name: as it came, or with the registry's
// credentials.
func (p *pull) asItself(ctx context.Context, encoded []byte) ([]byte, error) {
	end, err := p.namer.BeginOwnPull(ctx, p.name)
	if err != nil {
		return nil, err
	}
	response, err := p.forwardPull(ctx, encoded)
	end(err == nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := cri.Detached(ctx, recordTimeout)
	defer cancel()
	p.recordOwn(ctx)
	return response, nil
}
