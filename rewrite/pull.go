package rewrite

import (
	"context"
	"strings"
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

// pullImage pulls from the registries that have the image, in the order of the [Lookup], until
// a pull succeeds. After them it pulls from the original registry with the unchanged request,
// if that is allowed.
func (c call) pullImage(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.PullImageRequest{}
	if err := proto.Unmarshal(encoded, request); err != nil {
		return c.pullUnread(ctx, encoded, request, err)
	}
	name, err := imagename.Parse(request.GetImage().GetImage())
	if err != nil {
		return c.pullUnread(ctx, encoded, request, err)
	}
	start := time.Now()
	p := pull{call: c, request: request, encoded: encoded, name: name}
	if c.timeout > 0 {
		p.deadline = start.Add(c.timeout)
	}
	decision := newPullDecision(request)
	response, err := p.run(ctx, &decision)
	decision.Duration, decision.Err, decision.Tried = time.Since(start), err, p.tried.text(listLimit)
	if err != nil && decision.Outcome == "" {
		decision.Outcome = OutcomeFailed
	}
	wasAsked := decision.Outcome != OutcomeRefused || !p.tried.isEmpty()
	decision.Absent = status.Code(err) == codes.NotFound && wasAsked && !p.tried.hasFailures()
	c.decided(ctx, decision)
	return response, err
}

// newPullDecision returns a decision with the facts of the request.
func newPullDecision(request *runtime.PullImageRequest) Decision {
	pod := request.GetSandboxConfig().GetMetadata()
	return Decision{
		Method:    "PullImage",
		Asked:     printable.Line(request.GetImage().GetImage(), nameLimit),
		Namespace: printable.Line(pod.GetNamespace(), lineLimit),
		Pod:       printable.Line(pod.GetName(), lineLimit),
	}
}

// pullUnread handles a request with an image that the shim can't parse as a name. It forwards
// the request if the runtime may pull from any registry, because the runtime may accept the
// name.
func (c call) pullUnread(ctx context.Context, encoded []byte, request *runtime.PullImageRequest, problem error) ([]byte, error) {
	decision := newPullDecision(request)
	if MayFallBack(request.GetImage().GetImage(), c.lookup.MayFallBack) {
		response, err := c.forwardPull(ctx, encoded)
		decision.Reason, decision.Duration, decision.Err = "not an image name, forwarded unchanged", time.Since(c.began), err
		decision.Served, decision.Outcome = decision.Asked, OutcomeOriginal
		if err != nil {
			decision.Served, decision.Outcome = "", OutcomeFailed
		}
		c.decided(ctx, decision)
		return response, err
	}
	err := status.Errorf(codes.InvalidArgument, "image-cri-shim: no configured registry can have it, and other registries may not be used (fallback: never): %s", printable.Line(problem.Error(), lineLimit))
	decision.Reason, decision.Outcome, decision.Err = "fallback: never", OutcomeRefused, err
	c.decided(ctx, decision)
	return nil, err
}

// MayFallBack reports whether the runtime may pull image from its original registry. rule is
// [Lookup.MayFallBack]. A string that is not a name must pass the rule for such strings and,
// if containerd takes it for a name, the rule for this name: containerd parses the ID
// sha256:1234 as docker.io/library/sha256:1234 (ParseDockerRef).
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
	encoded         []byte // request as received
	name            reference.Named
	deadline        time.Time // deadline of attempts that another one can follow; zero for none
	tried           attempts
	lastResort      []Answer    // registries to try after the original
	withCallersAuth bool        // the original is in a configured registry, and the request has credentials
	ownErr          error       // error of a pull by the requested name with the configured credentials
	runtimeDown     bool        // the runtime is unavailable
	namedIn         naming.Mode // where the requested name is kept; empty after a pull by the requested name
}

// run pulls from the candidates in order, then from the original registry, then from the
// candidates that are a last resort.
func (p *pull) run(ctx context.Context, decision *Decision) ([]byte, error) {
	queue := newAnswers(p.lookup.Find(ctx, p.name))
	defer queue.stop()
	for answer, ok := queue.next(); ok; answer, ok = queue.next() {
		if p.withCallersAuth = p.usesCallersAuth(answer.Candidate); p.withCallersAuth {
			break // pull with the unchanged request
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

// tryRegistry pulls from a registry. ended reports whether no other attempt must follow,
// because the pull succeeded, the runtime is unavailable, or ctx is done.
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
		decision.Reason = p.reason("the call was cancelled or timed out")
	}
	return nil, ctx.Err() != nil, err
}

// canFollow reports whether an answer leads to another attempt.
func (p *pull) canFollow(answer Answer) bool {
	return answer.Found || p.usesCallersAuth(answer.Candidate)
}

// reason returns the reason of the decision: end, followed by the registries that were tried
// before.
func (p *pull) reason(end string) string {
	if p.tried.isEmpty() {
		return end
	}
	return end + triedBefore + p.tried.text(listLimit)
}

// triedBefore separates the two parts of a reason.
const triedBefore = "; tried before: "

// BriefReason returns Reason without the registries in Tried.
func (d Decision) BriefReason() string {
	reason, _, _ := strings.Cut(d.Reason, triedBefore)
	return reason
}
