package rewrite

import (
	"cmp"
	"context"
	"fmt"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pullCandidate pulls a candidate with its registry's credentials, and records the name. sent
// reports whether the request was sent to the runtime. An error without that does not concern
// the registry.
func (p *pull) pullCandidate(ctx context.Context, answer Answer) (response []byte, sent bool, err error) {
	candidate := answer.Candidate
	request := proto.CloneOf(p.request)
	request.Image.Image = candidate.Reference
	// The caller's credentials are for the original registry.
	request.Auth = answer.Credentials.auth()
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, false, err
	}
	if candidate.Reference == p.name.String() {
		response, err = p.pullByOwnName(ctx, encoded)
		return response, true, err
	}
	named, err := p.namer.BeginPull(ctx, ledger.Origin{Original: p.name.String(), Stored: candidate.Reference, Registry: candidate.Registry})
	switch {
	case err != nil:
		p.runtimeDown = status.Code(err) == codes.Unavailable // no registry was asked yet
		return nil, false, err
	case named != nil:
		response, err = p.pullNamed(ctx, named, candidate.Reference, encoded)
		return response, true, err
	}
	visible, err := p.beginPull(ctx, answer)
	if err != nil {
		p.runtimeDown = status.Code(err) == codes.Unavailable // no registry was asked yet
		return nil, false, err
	}
	defer p.ledger.EndPull(candidate.Reference)
	response, err = p.forwardPull(ctx, encoded)
	ctx, cancel := cri.Detached(ctx, recordTimeout)
	defer cancel()
	if err != nil {
		p.recordFailedPull(ctx, candidate.Reference, visible)
		return nil, true, err
	}
	p.recordPull(ctx, candidate, visible, response)
	p.namedIn = naming.InLedger
	return response, true, nil
}

// pullNamed pulls an image that gets the requested name in the runtime.
func (p *pull) pullNamed(ctx context.Context, named *naming.Pull, reference string, encoded []byte) ([]byte, error) {
	response, err := p.forwardPull(ctx, encoded)
	if err != nil {
		named.Fail(ctx, err)
		return nil, err
	}
	pulled := &runtime.PullImageResponse{}
	if err := proto.Unmarshal(response, pulled); err != nil {
		p.warn(fmt.Errorf("could not decode the answer to the pull of %s: %w", p.name, err))
	}
	p.namedIn = named.Complete(ctx, cmp.Or(pulled.ImageRef, reference))
	return response, nil
}

// pullByOwnName sends a request to pull the requested name. encoded is the unchanged request, or the
// request with the registry's credentials.
func (p *pull) pullByOwnName(ctx context.Context, encoded []byte) ([]byte, error) {
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
	p.recordOwnPull(ctx)
	return response, nil
}

// usesCallersAuth reports whether a candidate is the original reference and the request has
// credentials. These are for the same registry, and take precedence over the configured ones.
func (p *pull) usesCallersAuth(candidate Candidate) bool {
	return candidate.Reference == p.name.String() && p.request.Auth != nil
}
