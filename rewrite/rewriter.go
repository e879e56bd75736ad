package rewrite

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// Options are the parts and settings of a [Rewriter].
type Options struct {
	Lookup Lookup
	Ledger *ledger.Ledger
	// Namer gives pulled images their requested names in the runtime. If it is nil, the ledger
	// records all names.
	Namer *naming.Namer
	// Timeout limits the time from the start of a PullImage until the end of all attempts
	// that another one can follow. Only the caller's deadline limits the last attempt. 0
	// means no limit.
	Timeout time.Duration
	// Decided, if not nil, is called with each decision about an image name. It is called
	// concurrently and must not block.
	Decided func(context.Context, Decision)
	// Warn, if not nil, is called with errors that do not fail a call.
	Warn func(error)
}

// Decision is the result for one image name in a client's request. For the pull of nginx:1.25
// as hub:5000/library/nginx:1.25, Served is the latter, Registry is "http://hub:5000" and
// Outcome is OutcomeRegistry.
type Decision struct {
	Method   string // short name of the method, such as "PullImage"
	Asked    string // name in the request, in one line of limited length
	Served   string // reference or ID that the runtime answered for; empty if none
	Registry string // address of the registry that serves the image, or host of the original registry after a pull from there
	Reason   string // short text for logs
	Outcome  Outcome
	// Names is where the requested name is kept after a pull under another reference:
	// naming.InRuntime or naming.InLedger. Otherwise it is empty.
	Names    naming.Mode
	Duration time.Duration
	Err      error // error that the client gets; nil on success
	// Namespace and Pod name the pod for which PullImage pulls the image. They are empty if the
	// request has no pod, and in other methods.
	Namespace, Pod string
	// Tried lists the registries that did not serve a pull, with the causes, the preferred one
	// first. Reason repeats it; see [Decision.BriefReason].
	Tried string
	// Failed is the runtime's first error for another reference of the image, which the
	// client does not get. The image may exist under that reference. Reason lists all such
	// errors. Failed is nil if there is none.
	Failed error
	// Absent reports that a pull failed because each registry that may be used answered that
	// it does not have the image.
	Absent bool
}

// Outcome classifies a [Decision].
type Outcome string

const (
	// A configured registry serves the image.
	OutcomeRegistry Outcome = "registry"
	// The runtime has the image under the requested name, or has pulled it from the original
	// registry, because no registry is configured for it or the caller sent credentials.
	OutcomeOriginal Outcome = "original"
	// The original registry serves the image, because no configured registry has it.
	OutcomeAbsent Outcome = "absent"
	// The original registry serves the image, because a lookup or a pull has failed.
	OutcomeFallback Outcome = "fallback"

	OutcomeRemoved Outcome = "removed"
	OutcomeNone    Outcome = "none"    // the image is not on this node
	OutcomeRefused Outcome = "refused" // fallback: never forbids the pull
	OutcomeFailed  Outcome = "failed"  // the call failed
)

// Rewriter applies the rules for image names to calls. It is safe for concurrent use.
type Rewriter struct {
	lookup  Lookup
	ledger  *ledger.Ledger
	namer   *naming.Namer
	timeout time.Duration
	decided func(context.Context, Decision)
	warn    func(error)
}

// New returns a rewriter.
func New(options Options) *Rewriter {
	r := &Rewriter{
		lookup:  options.Lookup,
		ledger:  options.Ledger,
		namer:   options.Namer,
		timeout: options.Timeout,
		decided: options.Decided,
		warn:    options.Warn,
	}
	if r.decided == nil {
		r.decided = func(context.Context, Decision) {}
	}
	if r.warn == nil {
		r.warn = func(error) {}
	}
	return r
}

// Methods returns the full names of all methods of the CRI, in both versions.
func Methods() []string {
	var methods []string
	for _, service := range []grpc.ServiceDesc{runtime.RuntimeService_ServiceDesc, runtime.ImageService_ServiceDesc} {
		_, name, _ := strings.Cut(service.ServiceName, ".v1.")
		for _, version := range cri.Versions {
			prefix := "/" + version + "." + name + "/"
			for _, method := range service.Methods {
				methods = append(methods, prefix+method.MethodName)
			}
			for _, stream := range service.Streams {
				methods = append(methods, prefix+stream.StreamName)
			}
		}
	}
	return methods
}

// Unary returns the handlers of the unary methods with image names in their messages, by full
// method name.
func (r *Rewriter) Unary() map[string]intercept.Unary {
	table := make(map[string]intercept.Unary)
	for _, version := range cri.Versions {
		add := func(service, method string, answer func(call, context.Context, []byte) ([]byte, error)) {
			full := "/" + version + "." + service + "/" + method
			table[full] = func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
				c := call{Rewriter: r, method: full, began: time.Now(), runtime: cri.Client{Version: version, Invoke: invoke}}
				return answer(c, ctx, request)
			}
		}
		add("ImageService", "PullImage", call.pullImage)
		add("ImageService", "ImageStatus", call.imageStatus)
		add("ImageService", "RemoveImage", call.removeImage)
		add("ImageService", "ListImages", call.listImages)
		add("RuntimeService", "CreateContainer", call.createContainer)
		add("RuntimeService", "ListContainers", call.listContainers)
		add("RuntimeService", "ContainerStatus", call.containerStatus)
		add("RuntimeService", "PodSandboxStatus", call.podSandboxStatus)
	}
	return table
}

// Stream returns the handlers of the methods with a stream of answers, by full method name.
func (r *Rewriter) Stream() map[string]intercept.Stream {
	table := make(map[string]intercept.Stream)
	for _, version := range cri.Versions {
		add := func(service, method string, prepare func(call, context.Context, []byte) ([]byte, func([]byte) ([]byte, error), error)) {
			full := "/" + version + "." + service + "/" + method
			table[full] = func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, intercept.Transform, error) {
				return prepare(call{Rewriter: r, method: full, began: time.Now(), runtime: cri.Client{Version: version, Invoke: invoke}}, ctx, request)
			}
		}
		add("ImageService", "StreamImages", call.streamImages)
		add("RuntimeService", "StreamContainers", call.streamContainers)
		add("RuntimeService", "GetContainerEvents", call.containerEvents)
	}
	return table
}

// call is one intercepted call.
type call struct {
	*Rewriter
	method  string // full method name
	began   time.Time
	runtime cri.Client
	// readOnly is set if the shim itself makes the call. A preloaded image then gets no
	// name.
	readOnly bool
}

// forward calls the method of the call in the runtime.
func (c call) forward(ctx context.Context, request []byte) ([]byte, error) {
	return c.runtime.Invoke(ctx, c.method, request)
}
