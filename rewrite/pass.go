package rewrite

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pass looks at the request of a unary call that kubelet makes all the time. Where it
// may be forwarded as it is, it returns what restores the names in the answer, which
// hardly ever asks the runtime anything.
type Pass func(request []byte) (Restore, bool)

// Restore changes an answer of the runtime, and may return it as it is.
type Restore func(ctx context.Context, response []byte, invoke Invoke) []byte

// Pass is a shorter way to answer some calls of the methods in [Rewriter.Unary], by
// full method name. Where it says no, Unary answers, and with the same answer.
func (r *Rewriter) Pass() map[string]Pass {
	table := make(map[string]Pass)
	for _, version := range versions {
		add := func(service, method string, passes func(request []byte) bool, restore func(call, context.Context, []byte) ([]byte, error)) {
			table["/"+version+"."+service+"/"+method] = func(request []byte) (Restore, bool) {
				return func(ctx context.Context, response []byte, invoke Invoke) []byte {
					c := call{Rewriter: r, runtime: images{version: version, invoke: invoke}}
					if restored, err := restore(c, ctx, response); err == nil {
						return restored
					}
					return response
				}, passes(request)
			}
		}
		add("ImageService", "ImageStatus", asksByID, call.restoreImageStatus)
		restoreStatus := table["/"+version+".ImageService/ImageStatus"]
		table["/"+version+".ImageService/ImageStatus"] = func(request []byte) (Restore, bool) {
			if r.namesInRuntime() {
				return r.missingStatus(version, request), true
			}
			return restoreStatus(request)
		}
		table["/"+version+".ImageService/RemoveImage"] = func(request []byte) (Restore, bool) {
			return nil, r.namesInRuntime() && r.namer.idle() && removesByID(request)
		}
		table["/"+version+".RuntimeService/CreateContainer"] = func(request []byte) (Restore, bool) {
			return nil, r.namer.idle() && createsByID(request)
		}
		add("ImageService", "ListImages", listsAll, call.restoreImages)
		add("RuntimeService", "ContainerStatus", always, call.restoreContainerStatus)
		add("RuntimeService", "PodSandboxStatus", always, call.restorePodSandboxStatus)
	}
	return table
}

// Opaque reports, by full method name, whether calls that begin now need no look at
// their messages: the runtime has the names of all images itself.
func (r *Rewriter) Opaque() map[string]func() bool {
	table := make(map[string]func() bool)
	for _, version := range versions {
		for _, method := range []string{"RuntimeService/ContainerStatus", "RuntimeService/PodSandboxStatus", "RuntimeService/GetContainerEvents"} {
			table["/"+version+"."+method] = func() bool { return !r.mayRestore() }
		}
		for _, method := range []string{"ImageService/ListImages", "ImageService/StreamImages"} {
			table["/"+version+"."+method] = func() bool { return r.namesInRuntime() && r.namer.idle() }
		}
	}
	return table
}

// namesInRuntime reports whether the runtime has the names of all images itself.
func (r *Rewriter) namesInRuntime() bool { return r.namer.inRuntime() && r.ledger.empty() }

func (c call) restoreImageStatus(_ context.Context, raw []byte) ([]byte, error) {
	response := &runtime.ImageStatusResponse{}
	if proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	return c.restoreStatus(response, raw)
}

func (c call) restoreImages(_ context.Context, raw []byte) ([]byte, error) { return c.restoreList(raw) }

func always([]byte) bool { return true }

// What can't be decoded is for the runtime to judge, and passes.

func asksByID(encoded []byte) bool {
	request := &runtime.ImageStatusRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetImage())
}

func removesByID(encoded []byte) bool {
	request := &runtime.RemoveImageRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetImage())
}

func listsAll(encoded []byte) bool {
	request := &runtime.ListImagesRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetFilter().GetImage())
}

func createsByID(encoded []byte) bool {
	request := &runtime.CreateContainerRequest{}
	return proto.Unmarshal(encoded, request) != nil || !slices.ContainsFunc(imagesOf(request), isNamed)
}

// isNamed tells whether an image is given by its name.
func isNamed(spec *runtime.ImageSpec) bool {
	_, err := Parse(spec.GetImage())
	return err == nil
}
