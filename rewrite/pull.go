package rewrite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/distribution/reference"
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
	decision := Decision{Method: "PullImage", Asked: request.Image.Image}
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
	for answer := range p.lookup.Find(ctx, p.name) {
		if !answer.Found {
			p.failed(answer.Registry, answer.Reason)
			continue
		}
		if p.meansItself(answer.Candidate) {
			break // the original request says it all
		}
		response, err := p.from(ctx, answer.Candidate)
		if err == nil {
			decision.Served, decision.Registry, decision.Reason = answer.Reference, answer.Registry, "the registry has it"
			return response, nil
		}
		p.failed(answer.Registry, "pull failed: "+oneLine(status.Convert(err).Message()))
		if ctx.Err() != nil {
			decision.Reason = p.reason()
			return nil, err
		}
	}
	response, err := p.fromOriginal(ctx)
	decision.Reason = p.reason()
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
func (p *pull) from(ctx context.Context, candidate Candidate) ([]byte, error) {
	request := proto.CloneOf(p.request)
	request.Image.Image = candidate.Reference
	// The caller's credentials were meant for another registry.
	request.Auth = nil
	if candidate.Credentials != (Credentials{}) {
		request.Auth = &runtime.AuthConfig{
			Username:      candidate.Credentials.Username,
			Password:      candidate.Credentials.Password,
			ServerAddress: candidate.Credentials.ServerAddress,
		}
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	before, err := p.runtime.status(ctx, candidate.Reference)
	if err != nil {
		return nil, err
	}
	response, err := p.forward(ctx, encoded)
	if err != nil {
		return nil, err
	}
	if candidate.Reference == p.name.String() {
		p.recordOwn(ctx)
	} else {
		p.recordMoved(ctx, candidate, before)
	}
	return response, nil
}

// fromOriginal sends the request as it came.
func (p *pull) fromOriginal(ctx context.Context) ([]byte, error) {
	response, err := p.forward(ctx, p.encoded)
	if err != nil {
		return nil, err
	}
	p.recordOwn(ctx)
	return response, nil
}

// recordMoved notes that the asked name means the image that is now stored under
// a candidate's reference. before is what that reference meant until now.
func (p *pull) recordMoved(ctx context.Context, candidate Candidate, before *runtime.Image) {
	stored := candidate.Reference
	after, err := p.runtime.status(ctx, stored)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after it was pulled as %s: %w", p.name, stored, err))
		return
	}
	if after == nil {
		return // removed meanwhile
	}
	var change Change
	change.Name = append(change.Name, Name{Original: p.name.String(), Image: after.Id, Stored: stored, Registry: candidate.Registry})
	put := append([]string{stored}, digestsOf(after, repository(stored))...)
	for _, reference := range put {
		// Who has asked for that very reference before still finds its image there.
		if before != nil && hasName(before, reference) && !p.ledger.Hidden(reference, before.Id) {
			change.Name = append(change.Name, Name{Original: reference, Image: before.Id, Stored: reference})
		}
		change.Hide = append(change.Hide, Hidden{Reference: reference, Image: after.Id})
		if _, digest, ok := strings.Cut(reference, "@"); ok {
			digested := repository(p.name.String()) + "@" + digest
			change.Name = append(change.Name, Name{Original: digested, Image: after.Id, Stored: reference, Registry: candidate.Registry})
		}
	}
	// The image that the runtime itself has under the name has lost it.
	if old, err := p.runtime.status(ctx, p.name.String()); err == nil && old != nil {
		change.Hide = append(change.Hide, Hidden{Reference: p.name.String(), Image: old.Id})
	}
	p.apply(change)
}

// recordOwn notes that the runtime has the image under the name itself.
func (p *pull) recordOwn(ctx context.Context) {
	if p.ledger.Empty() {
		return
	}
	own := []string{p.name.String()}
	if image, err := p.runtime.status(ctx, own[0]); err != nil {
		p.warn(fmt.Errorf("look at %s after its pull: %w", p.name, err))
	} else {
		own = append(own, digestsOf(image, repository(own[0]))...)
	}
	p.apply(Change{Unname: own, Show: own})
}

func (c call) apply(change Change) {
	if err := c.ledger.Apply(change); err != nil {
		c.warn(err)
	}
}

func (p *pull) failed(registry, reason string) {
	p.attempts = append(p.attempts, registry+" ("+reason+")")
}

// reason says why the original was asked.
func (p *pull) reason() string {
	if len(p.attempts) == 0 {
		return "no registry is configured for it"
	}
	return strings.Join(p.attempts, ", ")
}

// explain appends the attempts to the runtime's error. Its code, its details
// and the beginning of its text stay: kubelet compares them
// (evalCRIPullErr in kubernetes/pkg/kubelet/images).
func (p *pull) explain(err error) error {
	failure, ok := status.FromError(err)
	if !ok || len(p.attempts) == 0 {
		return err
	}
	explained := failure.Proto()
	explained.Message += "; image-cri-shim tried before: " + strings.Join(p.attempts, ", ")
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
