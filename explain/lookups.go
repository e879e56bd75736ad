package explain

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/distribution/reference"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/imagename"
)

// Lookups are the decisions and the answers of all registries about an image of the node.
type Lookups struct {
	Image       string // name that clients see
	Reference   string // canonical form of Image
	Rules       []registry.RuleResult
	Answers     []registry.Answer // of the registries that were asked
	MayFallBack bool              // the image may be pulled from its original registry

	name reference.Named
}

// LookUpImages looks up the images of the runtime in the registries, all at the same time
// and at most limit of them. total is the number of the images' names. Strings that are not
// names are left out, such as the ID of an image without a name. It takes little more than
// the timeout of one lookup.
func (e *Explainer) LookUpImages(ctx context.Context, limit int) (found []Lookups, total int, err error) {
	found, total, err = e.listImages(ctx, limit)
	e.lookUp(ctx, found)
	return found, total, err
}

// listImages returns the images of the runtime without answers.
func (e *Explainer) listImages(ctx context.Context, limit int) (found []Lookups, total int, err error) {
	images, err := e.Rewriter.Images(ctx, e.Invoke)
	if err != nil {
		return nil, 0, fmt.Errorf("list the node's images: %w", err)
	}
	for _, image := range images {
		name, err := imagename.Parse(image)
		if err != nil {
			continue
		}
		if total++; total > limit {
			continue
		}
		found = append(found, Lookups{
			Image:       image,
			Reference:   name.String(),
			Rules:       e.Registries.RuleResults(name),
			MayFallBack: rewrite.MayFallBack(image, e.Registries.MayFallBack),
			name:        name,
		})
	}
	return found, total, nil
}

// lookUp sets the answers of images, all at the same time.
func (e *Explainer) lookUp(ctx context.Context, images []Lookups) {
	var running sync.WaitGroup
	for i := range images {
		running.Go(func() { images[i].Answers = slices.Collect(e.Registries.Find(ctx, images[i].name)) })
	}
	running.Wait()
}
