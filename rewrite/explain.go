package rewrite

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// Local is the state of one image name on a node.
type Local struct {
	// Ledger is the ledger's entry for it, nil if there is none.
	Ledger *ledger.Entry
	// What the runtime has under each reference that may be the image: the name as
	// it was given, the ledger's image, each registry's reference. Where the runtime
	// keeps the names, these are the name as it was given, each name of the image, and
	// the registries' references that are there.
	Runtime []RuntimeImage
	// What ImageStatus finds under the name: the runtime's reference or ID, the
	// registry it came from, and why this one. Served is empty where it finds
	// nothing.
	Served, Registry, Reason string
}

// RuntimeImage is the image that the runtime has under one reference.
type RuntimeImage struct {
	Reference string
	Image     string // its ID; empty if there is none
	Hidden    bool   // it was put there for another name, and is not to be found under this one
	Err       error  // the runtime's
}

// Local returns what the node has of a name, and what a client would find. It asks
// the runtime through invoke, and no registry. It gives no image a name. The error is the runtime's if it can't
// be asked, or if it leaves open whether the image is there.
func (r *Rewriter) Local(ctx context.Context, image string, invoke intercept.Invoke) (Local, error) {
	c, err := r.ownCall(ctx, invoke)
	if err != nil {
		return Local{}, err
	}
	c.readOnly = true
	name, err := imagename.Parse(image)
	if err != nil {
		return c.localUnnamed(ctx, image)
	}
	var local Local
	references := []string{image}
	if known, ok := r.ledger.Lookup(name.String()); ok {
		local.Ledger = &known
		references = append(references, known.Image)
	}
	for _, candidate := range r.lookup.Candidates(name) {
		if candidate.Reference != name.String() {
			references = append(references, candidate.Reference)
		}
	}
	for _, asked := range references {
		local.Runtime = append(local.Runtime, c.runtimeImage(ctx, asked))
	}
	if r.namer.InRuntime() {
		local.Runtime = c.withNames(ctx, local.Runtime)
	}
	request := &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return local, err
	}
	found, err := c.find(ctx, request, encoded, name)
	if err != nil {
		return local, err
	}
	if found.image() == nil {
		return local, found.failed.err() // it may be there under that reference
	}
	local.Served, local.Registry, local.Reason = found.reference, found.registry, found.reason
	return local, nil
}

// withNames adds the names that the runtime has for the images of the references. It drops
// the references that are absent, but for the first: in the runtime that keeps the names, a
// registry's reference is there only if an image was loaded or pulled by it.
func (c call) withNames(ctx context.Context, references []RuntimeImage) []RuntimeImage {
	shown := references[:1:1]
	for _, p := range references[1:] {
		if p.Image != "" || p.Err != nil {
			shown = append(shown, p)
		}
	}
	for _, p := range shown {
		if p.Image == "" {
			continue
		}
		image, err := c.runtime.ImageStatus(ctx, p.Image)
		if err != nil {
			shown = append(shown, RuntimeImage{Reference: p.Image, Err: err})
			continue
		}
		for _, name := range slices.Concat(image.GetRepoTags(), image.GetRepoDigests()) {
			listed := slices.ContainsFunc(shown, func(other RuntimeImage) bool { return other.Reference == name })
			if !listed {
				shown = append(shown, RuntimeImage{Reference: name, Image: p.Image, Hidden: c.ledger.IsHidden(name, p.Image)})
			}
		}
	}
	return shown
}

// localUnnamed is Local for an ID, or for what is no reference.
func (c call) localUnnamed(ctx context.Context, image string) (Local, error) {
	found := c.runtimeImage(ctx, image)
	local := Local{Runtime: []RuntimeImage{found}}
	if c.namer.InRuntime() {
		local.Runtime = c.withNames(ctx, local.Runtime)
	}
	if found.Image != "" {
		local.Served, local.Reason = found.Image, "the runtime knows it by this"
	}
	return local, found.Err
}

// runtimeImage asks the runtime for a reference or an ID.
func (c call) runtimeImage(ctx context.Context, asked string) RuntimeImage {
	image, err := c.runtime.ImageStatus(ctx, asked)
	name, parseErr := imagename.Parse(asked)
	return RuntimeImage{
		Reference: asked,
		Image:     image.GetId(),
		Hidden:    image != nil && parseErr == nil && c.hides(name, image),
		Err:       err,
	}
}

// Images are the names of the runtime's images as clients see them: the tags of
// each, or its digests where it has no tag, or its ID. They are sorted.
func (r *Rewriter) Images(ctx context.Context, invoke intercept.Invoke) ([]string, error) {
	c, err := r.ownCall(ctx, invoke)
	if err != nil {
		return nil, err
	}
	c.method = "/" + c.runtime.Version + ".ImageService/ListImages"
	encoded, err := c.listImages(ctx, nil)
	if err != nil {
		return nil, err
	}
	response := &runtime.ListImagesResponse{}
	if err := proto.Unmarshal(encoded, response); err != nil {
		return nil, err
	}
	var names []string
	for _, image := range response.Images {
		switch {
		case len(image.RepoTags) > 0:
			names = append(names, image.RepoTags...)
		case len(image.RepoDigests) > 0:
			names = append(names, image.RepoDigests...)
		default:
			names = append(names, image.Id)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// ownCall is a call that no client has made, in the version of the CRI that the
// runtime serves.
func (r *Rewriter) ownCall(ctx context.Context, invoke intercept.Invoke) (call, error) {
	var failure error
	for _, version := range cri.Versions {
		c := call{Rewriter: r, began: time.Now(), runtime: cri.Client{Version: version, Invoke: invoke}}
		_, err := invoke(ctx, "/"+version+".RuntimeService/Version", nil)
		if err == nil {
			return c, nil
		}
		if failure == nil {
			failure = err
		}
		if status.Code(err) != codes.Unimplemented {
			break
		}
	}
	return call{}, failure
}
