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
	// Ledger is the ledger's entry for the name, or nil.
	Ledger *ledger.Entry
	// Runtime lists the images that the runtime has under the references that may be the
	// image. In the mode ledger, these are the name as given, the ID in the ledger, and each
	// registry's reference. In the mode runtime, they are the name as given, all names of the
	// image, and the registries' references that exist.
	Runtime []RuntimeImage
	// Served is the reference or ID that ImageStatus finds for the name, Registry is the
	// address of the registry that served it, and Reason explains the choice. Served is
	// empty if ImageStatus finds no image.
	Served, Registry, Reason string
}

// RuntimeImage is the image that the runtime has under one reference.
type RuntimeImage struct {
	Reference string
	Image     string // image ID; empty if there is no image
	Hidden    bool   // the reference was stored for another name, and clients do not find the image by it
	Err       error  // error of the runtime
}

// Local returns the state of an image name on the node, and the result of ImageStatus for it.
// It calls the runtime through invoke, and changes nothing. It asks no registry. It returns
// the runtime's error if the runtime is unavailable, or if the error leaves open whether the
// image exists.
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
		return local, found.failed.err() // the image may exist under that reference
	}
	local.Served, local.Registry, local.Reason = found.reference, found.registry, found.reason
	return local, nil
}

// withNames adds all names of the images that were found. It drops absent references except
// the first, because in the mode runtime a registry's reference exists only if an image was
// loaded or pulled by it.
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

// localUnnamed implements Local for an ID, or for a string that is not a reference.
func (c call) localUnnamed(ctx context.Context, image string) (Local, error) {
	found := c.runtimeImage(ctx, image)
	local := Local{Runtime: []RuntimeImage{found}}
	if c.namer.InRuntime() {
		local.Runtime = c.withNames(ctx, local.Runtime)
	}
	if found.Image != "" {
		local.Served, local.Reason = found.Image, "the runtime finds an image by this string"
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

// Images returns the names of the runtime's images as clients see them, sorted: the tags of
// each image, or its digest references if it has no tags, or its ID if it has neither.
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

// ownCall returns a call of the shim itself, in the version of the CRI that the runtime serves.
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
