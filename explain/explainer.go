package explain

import (
	"context"
	"fmt"
	"sync"

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

// Explain explains names, in their order. Without names, it explains the images that the
// runtime has now, under the names that clients see. It returns an error only if the runtime
// can't list its images.
func (e *Explainer) Explain(ctx context.Context, names []string) ([]Image, error) {
	naming := NamingOf(e.Namer.Probe(ctx), e.Namer.Repairs())
	if len(names) == 0 {
		var err error
		if names, err = e.Rewriter.Images(ctx, e.Invoke); err != nil {
			return nil, fmt.Errorf("list the node's images: %w", err)
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
