package rewrite

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

// Forward returns functions, by full method name, that decide whether a call of a method in
// [Rewriter.Unary] can be forwarded before its request is read. That is so for ImageStatus
// while the runtime has the names of all images, and for other calls while no answer needs a
// change. If this has changed when the answer arrives, the answer is restored.
func (r *Rewriter) Forward() map[string]intercept.Forward {
	table := make(map[string]intercept.Forward)
	for _, version := range cri.Versions {
		method := "/" + version + ".ImageService/ImageStatus"
		table[method] = func() (intercept.Forwarding, bool) {
			began := time.Now()
			return intercept.Forwarding{
				Unchanged: r.isUnchangedStatus,
				Restore: func(ctx context.Context, request, response []byte, invoke intercept.Invoke) []byte {
					c := call{Rewriter: r, method: method, began: began, runtime: cri.Client{Version: version, Invoke: invoke}}
					return c.missingStatus(ctx, request, response)
				},
			}, r.namesInRuntime()
		}
		add := func(service, method string, mayPass func() bool, restore func(call, context.Context, []byte) ([]byte, error)) {
			table["/"+version+"."+service+"/"+method] = func() (intercept.Forwarding, bool) {
				began := time.Now()
				return intercept.Forwarding{
					Unchanged: func([]byte) bool { return !r.mayRestore() },
					Restore: func(ctx context.Context, _, response []byte, invoke intercept.Invoke) []byte {
						c := call{Rewriter: r, began: began, runtime: cri.Client{Version: version, Invoke: invoke}}
						restored, err := restore(c, ctx, response)
						if err != nil {
							return response
						}
						return restored
					},
				}, mayPass() && !r.mayRestore()
			}
		}
		add("ImageService", "ListImages", r.namer.InRuntime, func(c call, _ context.Context, raw []byte) ([]byte, error) {
			return c.restoreList(raw, listing{})
		})
		anywhere := func() bool { return true }
		add("RuntimeService", "ContainerStatus", anywhere, call.restoreContainerStatus)
		add("RuntimeService", "PodSandboxStatus", anywhere, call.restorePodSandboxStatus)
		add("RuntimeService", "ListContainers", anywhere, func(c call, ctx context.Context, raw []byte) ([]byte, error) {
			return c.restoreContainerList(ctx, raw, containerListing{})
		})
	}
	return table
}

// Opaque returns functions, by full method name, that report whether a stream that begins now
// can be forwarded without decoding its messages, because no name in them needs a change.
func (r *Rewriter) Opaque() map[string]intercept.Opaque {
	table := make(map[string]intercept.Opaque)
	for _, version := range cri.Versions {
		for _, method := range []string{"StreamContainers", "GetContainerEvents"} {
			table["/"+version+".RuntimeService/"+method] = func() bool { return !r.mayRestore() }
		}
		table["/"+version+".ImageService/StreamImages"] = func() bool { return r.namer.InRuntime() && !r.mayRestore() }
	}
	return table
}

// namesInRuntime reports whether the runtime has the names of all images itself.
func (r *Rewriter) namesInRuntime() bool { return r.namer.InRuntime() && !r.ledger.HasNames() }

// The functions in this file handle calls while the runtime has the names of all images. The
// calls are forwarded unchanged. Only if the runtime does not find a name, the shim looks for
// an image that was loaded under a registry's name.

// missingStatus returns the answer to an ImageStatus that was forwarded unchanged. raw is the
// runtime's answer. If it has no image, missingStatus looks for the image under a registry's
// name.
func (c call) missingStatus(ctx context.Context, encoded, raw []byte) []byte {
	if hasImage(raw) {
		restored, _ := c.restoreImageStatus(ctx, raw) // a name may have been recorded in the ledger meanwhile
		return restored
	}
	if found := c.findMissing(ctx, encoded); found != nil {
		return found
	}
	return raw
}

// isUnchangedStatus reports whether an answer to ImageStatus, of which beginning is the first
// bytes, needs no change: it has an image, and no name in it must be restored.
func (r *Rewriter) isUnchangedStatus(beginning []byte) bool {
	return hasImage(beginning) && !r.mayRestore()
}

// hasImage reports whether an encoded ImageStatusResponse has an image, its first field.
func hasImage(raw []byte) bool {
	const imageField = 1<<3 | 2 // number and wire type (runtime/v1/api.proto)
	return len(raw) > 0 && raw[0] == imageField
}

// findMissing looks for the image of an ImageStatus under registries' names, and returns the
// answer, or nil if there is no such image.
func (c call) findMissing(ctx context.Context, encoded []byte) []byte {
	request := &runtime.ImageStatusRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return nil
	}
	name, err := imagename.Parse(request.GetImage().GetImage())
	if err != nil {
		return nil
	}
	if len(c.lookup.Candidates(name)) == 0 {
		return nil
	}
	if again, err := c.forward(ctx, encoded); err != nil || hasImage(again) {
		return again // the runtime failed, or has the image now
	}
	found, err := c.resolve(ctx, request, encoded, name, false)
	if err != nil || found.image() == nil {
		return nil
	}
	restored, _ := c.restoreStatus(found.response, found.raw)
	return restored
}

// createNamed forwards CreateContainer unchanged. If the call fails and an image was not found
// by its name, createNamed looks for an image that was loaded under a registry's name, gives
// it the requested name, and sends the request again.
func (c call) createNamed(ctx context.Context, request *runtime.CreateContainerRequest, encoded []byte) ([]byte, error) {
	var missing []*runtime.ImageSpec
	ids := idsOf(request)
	for _, spec := range imagesOf(request) {
		if !isNamed(spec) {
			continue
		}
		image, err := c.runtime.ImageStatus(ctx, spec.GetImage())
		switch {
		case err != nil:
		case image == nil:
			missing = append(missing, spec)
		default:
			ids = append(ids, image.GetId())
		}
	}
	done, err := c.namer.Use(ctx, ids...)
	if err != nil {
		return nil, err
	}
	response, err := c.forward(ctx, encoded)
	done()
	if err == nil || cri.EndsCall(err) {
		return response, err
	}
	found := false
	for _, spec := range missing {
		name, _ := imagename.Parse(spec.GetImage())
		other, otherErr := c.resolveName(ctx, spec.GetImage(), name, false)
		found = found || otherErr == nil && other.image() != nil
	}
	if !found {
		return nil, err
	}
	return c.forward(ctx, encoded)
}

// idsOf returns the IDs of a container's images that are given by ID.
func idsOf(request *runtime.CreateContainerRequest) []string {
	var ids []string
	for _, spec := range imagesOf(request) {
		if spec.GetImage() != "" && !isNamed(spec) {
			ids = append(ids, spec.GetImage())
		}
	}
	return ids
}
