package rewrite

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/printable"
	"image-cri-shim/rewrite/imagename"
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

// pullUnread forwards a request whose image is no name to the shim, if the runtime may pull
// from any registry: it may be a name to the runtime.
func (c call) pullUnread(ctx context.Context, encoded []byte, image string, problem error) ([]byte, error) {
	if MayFallBack(image, c.lookup.MayFallBack) {
		return c.forwardPull(ctx, encoded)
	}
	err := status.Errorf(codes.InvalidArgument, "image-cri-shim: no configured registry can have it, and no other is to be asked (fallback: never): %s", printable.Line(problem.Error(), lineLimit))
	c.decided(ctx, Decision{Method: "PullImage", Asked: printable.Line(image, lineLimit), Reason: "fallback: never", Outcome: OutcomeRefused, Err: err})
	return nil, err
}

// MayFallBack reports whether the runtime may pull what a client has written from the
// registry in it, by the rule for names (see [Lookup]). Two rules apply to a string that is
// no name: containerd reads the ID sha256:1234 as docker.io/library/sha256:1234
// (ParseDockerRef).
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
	request         *runtime.PullImageRequest
	encoded         []byte // request as it came
	name            reference.Named
	deadline        time.Time // of the attempts that another one can follow; zero for none
	tried           attempts
	lastResort      []Answer    // to be tried after the original
	withCallersAuth bool        // the original is on a registry's own host, and the caller brings credentials
	ownErr          error       // of a pull by the name itself with its registry's credentials
	runtimeDown     bool        // the runtime is unavailable
	namedIn         naming.Mode // where the name of the pulled image is kept; empty if it is the asked one
}

// run pulls from the candidates in their order, then from the original, then from
// the candidates that are a last resort behind it.
func (p *pull) run(ctx context.Context, decision *Decision) ([]byte, error) {
	queue := newAnswers(p.lookup.Find(ctx, p.name))
	defer queue.stop()
	for answer, ok := queue.next(); ok; answer, ok = queue.next() {
		if p.withCallersAuth = p.usesCallersAuth(answer.Candidate); p.withCallersAuth {
			break // the original request says it all
		}
		switch {
		case !answer.Found:
			p.tried.addSkipped(answer)
			continue
		case answer.LastResort && p.lookup.MayFallBack(p.name):
			p.tried.addSkipped(answer)
			p.lastResort = append(p.lastResort, answer)
			continue
		}
		response, ended, err := p.tryRegistry(ctx, answer, decision, func() bool {
			return p.originalFollows(answer) || queue.has(p.canFollow)
		})
		if ended {
			return response, err
		}
		if answer.Reference == p.name.String() {
			p.ownErr = err
		}
	}
	return p.pullOriginal(ctx, decision)
}

// tryRegistry pulls from a registry. It reports whether the pull as a whole has ended, with
// an image or without.
func (p *pull) tryRegistry(ctx context.Context, answer Answer, decision *Decision, hasSuccessor func() bool) (response []byte, ended bool, err error) {
	response, err = p.attempt(ctx, answer, hasSuccessor)
	if err == nil {
		decision.Served, decision.Registry = answer.Reference, answer.Registry
		decision.Reason, decision.Outcome = p.reason("the registry has it"), OutcomeRegistry
		decision.Names = p.namedIn
		return response, true, nil
	}
	if p.runtimeDown {
		decision.Reason = p.reason("the runtime is unavailable")
		return nil, true, err
	}
	p.tried.addFailed(answer.Candidate, err)
	if ctx.Err() != nil {
		decision.Reason = p.reason("stopped")
	}
	return nil, ctx.Err() != nil, err
}

// canFollow reports whether an answer leads to another attempt.
func (p *pull) canFollow(answer Answer) bool {
	return answer.Found || p.usesCallersAuth(answer.Candidate)
}

// reason is why it ended as it did, with what came to nothing before.
func (p *pull) reason(end string) string {
	if p.tried.isEmpty() {
		return end
	}
	return end + "; before it " + p.tried.String()
}
