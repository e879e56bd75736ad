package rewrite

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pass looks at the request of a unary call that kubelet makes all the time. It reports
// whether the call may be forwarded as it is, and what becomes of its answer. The request
// is valid until it returns.
type Pass func(request []byte) (Passing, bool)

// Passing is what becomes of the answer to a call that is forwarded as it is.
type Passing struct {
	// Restore restores the names in the answer, and hardly ever asks the runtime anything.
	// Where it is nil the answer passes.
	Restore Restore
	// Unchanged, where it is not nil, reports from the first bytes of an answer whether
	// Restore would leave it as it is.
	Unchanged func(beginning []byte) bool
}

// Restore changes an answer of the runtime, and may return it as it is.
type Restore func(ctx context.Context, response []byte, invoke Invoke) []byte

// Pass is a shorter way to answer some calls of the methods in [Rewriter.Unary], by
// full method name. Where it says no, Unary answers, and with the same answer.
func (r *Rewriter) Pass() map[string]Pass {
	table := make(map[string]Pass)
	for _, version := range versions {
		add := func(service, method string, pass func(request []byte) (passed, bool)) {
			table["/"+version+"."+service+"/"+method] = func(request []byte) (Passing, bool) {
				p, ok := pass(request)
				passing := Passing{Unchanged: p.unchanged}
				if p.restore != nil {
					passing.Restore = func(ctx context.Context, response []byte, invoke Invoke) []byte {
						c := call{Rewriter: r, runtime: images{version: version, invoke: invoke}}
						if restored, err := p.restore(c, ctx, response); err == nil {
							return restored
						}
						return response
					}
				}
				return passing, ok
			}
		}
		add("ImageService", "ImageStatus", r.passStatus)
		add("ImageService", "ListImages", passList)
		add("ImageService", "RemoveImage", r.passRemoval)
		add("RuntimeService", "CreateContainer", r.passCreation)
		add("RuntimeService", "ListContainers", passContainerList)
		add("RuntimeService", "ContainerStatus", always(call.restoreContainerStatus))
		add("RuntimeService", "PodSandboxStatus", always(call.restorePodSandboxStatus))
	}
	return table
}

// Opaque reports, by full method name, whether calls that begin now need no look at
// their messages: no name in them needs a change.
func (r *Rewriter) Opaque() map[string]func() bool {
	table := make(map[string]func() bool)
	for _, version := range versions {
		for _, method := range []string{"ListContainers", "StreamContainers", "ContainerStatus", "PodSandboxStatus", "GetContainerEvents"} {
			table["/"+version+".RuntimeService/"+method] = func() bool { return !r.mayRestore() }
		}
		for _, method := range []string{"ListImages", "StreamImages"} {
			table["/"+version+".ImageService/"+method] = func() bool { return r.namer.inRuntime() && !r.mayRestore() }
		}
	}
	return table
}

// namesInRuntime reports whether the runtime has the names of all images itself.
func (r *Rewriter) namesInRuntime() bool { return r.namer.inRuntime() && !r.ledger.hasNames() }

// passed is what becomes of the answer to a call that passes, see [Passing].
type passed struct {
	restore   restorer
	unchanged func(beginning []byte) bool
}

// restorer restores the names in an answer.
type restorer func(call, context.Context, []byte) ([]byte, error)

// always lets all calls of a method pass.
func always(restore restorer) func([]byte) (passed, bool) {
	return func([]byte) (passed, bool) { return passed{restore: restore}, true }
}

// passStatus lets an ImageStatus pass whose name the runtime should know, or which names
// an image by its ID.
func (r *Rewriter) passStatus(request []byte) (passed, bool) {
	if !r.namesInRuntime() {
		return passed{restore: call.restoreImageStatus}, asksByID(request)
	}
	request = slices.Clone(request)
	restore := func(c call, ctx context.Context, raw []byte) ([]byte, error) {
		return c.missingStatus(ctx, request, raw)
	}
	return passed{restore: restore, unchanged: r.isUnchangedStatus}, true
}

func passList(request []byte) (passed, bool) {
	l := newListing(request)
	return passed{restore: func(c call, _ context.Context, raw []byte) ([]byte, error) { return c.restoreList(raw, l) }}, !l.named
}

func passContainerList(request []byte) (passed, bool) {
	l := newContainerListing(request)
	return passed{restore: func(c call, ctx context.Context, raw []byte) ([]byte, error) {
		return c.restoreContainerList(ctx, raw, l)
	}}, true
}

// passRemoval lets a RemoveImage pass that names an image by its ID, while no name is
// being changed.
func (r *Rewriter) passRemoval(request []byte) (passed, bool) {
	return passed{}, r.namesInRuntime() && r.namer.idle() && removesByID(request)
}

// passCreation is the same for CreateContainer.
func (r *Rewriter) passCreation(request []byte) (passed, bool) {
	return passed{}, r.namer.idle() && r.createsByID(request)
}

func (c call) restoreImageStatus(_ context.Context, raw []byte) ([]byte, error) {
	response := &runtime.ImageStatusResponse{}
	if proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	return c.restoreStatus(response, raw)
}

// What can't be decoded is for the runtime to judge, and passes.

func asksByID(encoded []byte) bool {
	request := &runtime.ImageStatusRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetImage())
}

func removesByID(encoded []byte) bool {
	request := &runtime.RemoveImageRequest{}
	return proto.Unmarshal(encoded, request) != nil || !isNamed(request.GetImage())
}

// createsByID reports whether all images are given by their IDs, and there is nothing to
// record about the container.
func (r *Rewriter) createsByID(encoded []byte) bool {
	request := &runtime.CreateContainerRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return true
	}
	return !slices.ContainsFunc(imagesOf(request), isNamed) && !r.ledger.isShared(request.GetConfig().GetImage().GetImage())
}

// isNamed tells whether an image is given by its name.
func isNamed(spec *runtime.ImageSpec) bool {
	_, err := Parse(spec.GetImage())
	return err == nil
}
