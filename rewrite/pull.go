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
)

// pullImage pulls from the best registry that has the image, from the next one
// where that fails, and at last from the original with the request as it came.
func (c call) pullImage(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.PullImageRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return c.forward(ctx, encoded)
	}
	name, err := Parse(request.GetImage().GetImage())
	if err != nil {
		return c.forward(ctx, encoded)
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
	c.decided(decision)
	return response, err
}

// pull is one PullImage.
type pull struct {
	call
	request  *runtime.PullImageRequest
	encoded  []byte // request as it came
	name     reference.Named
	attempts []string // what was tried in vain, for people
}

func (p *pull) run(ctx context.Context, decision *Decision) ([]byte, error) {
	decision.Reason = "no registry stands in for it"
	for answer := range p.lookup.Find(ctx, p.name) {
		if p.meansItself(answer.Candidate) {
			decision.Reason = "asked for by its own name, with the caller's credentials"
			break // the original request says it all
		}
		if !answer.Found {
			p.failed(answer.Registry, answer.Reason)
			continue
		}
		response, err := p.from(ctx, answer)
		if err == nil {
			decision.Served, decision.Registry, decision.Reason = answer.Reference, answer.Registry, "the registry has it"
			return response, nil
		}
		p.failed(answer.Registry, "pull failed: "+oneLine(status.Convert(err).Message()))
		if ctx.Err() != nil {
			decision.Reason = p.tried()
			return nil, err
		}
		if status.Code(err) != codes.Unavailable { // the runtime's, not the registry's doing
			p.lookup.Forget(answer.Candidate)
		}
	}
	if len(p.attempts) > 0 {
		decision.Reason = p.tried()
	}
	response, err := p.asItself(ctx, p.encoded)
	if err != nil {
		return nil, p.explain(err)
	}
	decision.Served = p.name.String()
	return response, nil
}

// meansItself tells the candidate that is the original with the caller's own
// credentials: these are meant for that registry, and take precedence.
func (p *pull) meansItself(candidate Candidate) bool {
	return candidate.Reference == p.name.String() && p.request.Auth != nil
}

// from pulls a candidate with its registry's credentials, and records the name.
func (p *pull) from(ctx context.Context, answer Answer) ([]byte, error) {
	candidate := answer.Candidate
	request := proto.CloneOf(p.request)
	request.Image.Image = candidate.Reference
	// The caller's credentials were meant for another registry.
	request.Auth = answer.Credentials.auth()
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	if candidate.Reference == p.name.String() {
		return p.asItself(ctx, encoded)
	}
	ctx, cancel := attempt(ctx)
	defer cancel()
	defer p.ledger.withdraw(candidate.Reference)
	before, err := p.announce(ctx, candidate.Reference)
	if err != nil {
		return nil, err
	}
	response, err := p.forward(ctx, encoded)
	ctx, cancel = afterwards(ctx)
	defer cancel()
	if err != nil {
		p.recordFailed(ctx, candidate.Reference, before)
		return nil, err
	}
	p.recordMoved(ctx, candidate, before, response)
	return response, nil
}

// attempt bounds one of several attempts so that a registry that answers
// look-ups and then hangs leaves some time for the others: a tenth, and a minute
// at most.
func attempt(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, set := ctx.Deadline()
	if !set {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Minute, time.Until(deadline)/10)))
}

// asItself sends a request for the asked name: as it came, or with the registry's
// credentials.
func (p *pull) asItself(ctx context.Context, encoded []byte) ([]byte, error) {
	response, err := p.forward(ctx, encoded)
	if err != nil {
		return nil, err
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	p.recordOwn(ctx)
	return response, nil
}

func (p *pull) failed(registry, reason string) {
	p.attempts = append(p.attempts, registry+" ("+reason+")")
}

// tried is what was tried in vain.
func (p *pull) tried() string { return strings.Join(p.attempts, ", ") }

// explain appends the attempts to the runtime's error. Its code, its details
// and the beginning of its text stay: kubelet compares them
// (evalCRIPullErr in kubernetes/pkg/kubelet/images).
func (p *pull) explain(err error) error {
	failure, ok := status.FromError(err)
	if !ok || len(p.attempts) == 0 {
		return err
	}
	explained := failure.Proto()
	explained.Message += "; image-cri-shim tried before: " + p.tried()
	return status.FromProto(explained).Err()
}

// oneLine makes a runtime's error text fit to stand in a list.
func oneLine(text string) string {
	const limit = 300
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}
