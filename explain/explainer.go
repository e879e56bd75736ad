package explain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/naming"
)

// Explainer explains image names. It is safe for concurrent use.
type Explainer struct {
	Registries *registry.Set
	Rewriter   *rewrite.Rewriter
	Namer      *naming.Namer    // nil if the ledger keeps all names
	Invoke     intercept.Invoke // calls the runtime
}

// concurrency is the maximum number of names explained at the same time.
const concurrency = 8

// Timeouts of calls to the runtime, which may accept calls without answering them.
const (
	statusTimeout = 3 * time.Second
	listTimeout   = 30 * time.Second
)

// invoke is like Invoke, but returns Unavailable if the runtime does not answer within
// statusTimeout.
func (e *Explainer) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := e.Invoke(limited, method, request)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return nil, status.Errorf(codes.Unavailable, "the runtime did not answer within %v", statusTimeout)
	}
	return response, err
}

// probe returns where the names of images are kept.
func (e *Explainer) probe(ctx context.Context) Naming {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	return NamingOf(e.Namer.Probe(ctx), e.Namer.Repairs())
}

// images returns the names of the runtime's images.
func (e *Explainer) images(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	names, err := e.Rewriter.Images(ctx, e.Invoke)
	if err != nil {
		return nil, fmt.Errorf("list the node's images: %w", err)
	}
	return names, nil
}

// Explain explains names, in their order. Without names, it explains the images that the
// runtime has now, under the names that clients see. It returns an error only if the runtime
// can't list its images.
func (e *Explainer) Explain(ctx context.Context, names []string) ([]Image, error) {
	naming := e.probe(ctx)
	if len(names) == 0 {
		var err error
		if names, err = e.images(ctx); err != nil {
			return nil, err
		}
	}
	images := make([]Image, len(names))
	slots := make(chan struct{}, concurrency)
	var running sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			images[i] = e.image(ctx, name)
			images[i].Node.Names = naming
		})
	}
	running.Wait()
	return images, nil
}
