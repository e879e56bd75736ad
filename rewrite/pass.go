package rewrite

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

// Pass returns functions, by full method name, that decide whether a call of a method in
// [Rewriter.Unary] can be forwarded unchanged, and restore the names in its answer. If a
// function returns false, the handler in Unary must handle the call. Both give the same
// answer.
func (r *Rewriter) Pass() map[string]intercept.Pass {
	table := make(map[string]intercept.Pass)
	for _, version := range cri.Versions {
		add := func(service, method string, pass func(request []byte) (restorer, bool)) {
			table["/"+version+"."+service+"/"+method] = func(request []byte) (intercept.Restore, bool) {
				restore, ok := pass(request)
				if restore == nil {
					return nil, ok
				}
				began := time.Now()
				return func(ctx context.Context, response []byte, invoke intercept.Invoke) []byte {
					c := call{Rewriter: r, began: began, runtime: cri.Client{Version: version, Invoke: invoke}}
					if restored, err := restore(c, ctx, response); err == nil {
						return restored
					}
					return response
				}, ok
			}
		}
		add("ImageService", "ImageStatus", passStatus)
		add("ImageService", "ListImages", passList)
		add("ImageService", "RemoveImage", r.passRemoval)
		add("RuntimeService", "CreateContainer", r.passCreation)
		add("RuntimeService", "ListContainers", passContainerList)
		add("RuntimeService", "ContainerStatus", always(call.restoreContainerStatus))
		add("RuntimeService", "PodSandboxStatus", always(call.restorePodSandboxStatus))
	}
	return table
}

// restorer restores the names in an answer.
type restorer func(call, context.Context, []byte) ([]byte, error)

// always forwards all calls of a method unchanged.
func always(restore restorer) func([]byte) (restorer, bool) {
	return func([]byte) (restorer, bool) { return restore, true }
}

// passStatus forwards an ImageStatus of an image ID unchanged.
func passStatus(request []byte) (restorer, bool) {
	return call.restoreImageStatus, asksByID(request)
}

func passList(request []byte) (restorer, bool) {
	l := newListing(request)
	return func(c call, _ context.Context, raw []byte) ([]byte, error) { return c.restoreList(raw, l) }, !l.named
}

func passContainerList(request []byte) (restorer, bool) {
	l := newContainerListing(request)
	return func(c call, ctx context.Context, raw []byte) ([]byte, error) {
		return c.restoreContainerList(ctx, raw, l)
	}, true
}

// passRemoval forwards a RemoveImage of an image ID unchanged, while the runtime has the names
// of all images and no name is being changed.
func (r *Rewriter) passRemoval(request []byte) (restorer, bool) {
	return nil, r.namesInRuntime() && r.namer.Idle() && removesByID(request)
}

// passCreation forwards a CreateContainer with image IDs unchanged, while no name is being
// changed and the container needs no record.
func (r *Rewriter) passCreation(request []byte) (restorer, bool) {
	return nil, r.namer.Idle() && r.createsByID(request)
}

func (c call) restoreImageStatus(_ context.Context, raw []byte) ([]byte, error) {
	response := &runtime.ImageStatusResponse{}
	if proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	return c.restoreStatus(response, raw)
}

// The following functions report true for requests that can't be decoded, so that these are
// forwarded and the runtime returns the error.

func asksByID(encoded []byte) bool {
	request := &runtime.ImageStatusRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetImage())
}

func removesByID(encoded []byte) bool {
	request := &runtime.RemoveImageRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetImage())
}

// createsByID reports whether all images in a CreateContainer are given by ID, and the ledger
// need not record the container.
func (r *Rewriter) createsByID(encoded []byte) bool {
	request := &runtime.CreateContainerRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return true
	}
	return !slices.ContainsFunc(imagesOf(request), isNamed) && !r.ledger.IsShared(request.GetConfig().GetImage().GetImage())
}

// isNamed reports whether an image is given by name, and not by ID.
func isNamed(spec *runtime.ImageSpec) bool {
	_, err := imagename.Parse(spec.GetImage())
	return err == nil
}
