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
	// Namer gives pulled images their names in the runtime. If it is nil, the ledger
	// remembers all names.
	Namer *naming.Namer
	// Timeout bounds, from the begin of a PullImage, the attempts that another one
	// can follow. The last attempt is bounded by the caller's deadline alone. 0 is
	// no bound.
	Timeout time.Duration
	// Decided, if not nil, is called with each decision about an image name, from many
	// goroutines at once. It must not block.
	Decided func(context.Context, Decision)
	// Warn, if not nil, is called with errors that do not fail a call.
	Warn func(error)
}

// Decision is the result for one image name that a client has sent.
type Decision struct {
	Method   string // "PullImage"
	Asked    string // as the client wrote it, in one line of bounded length
	Served   string // the reference or ID that the runtime answered for; empty if none
	Registry string // the address of the registry that serves it; the host of the original for a pull from there
	Reason   string // in a few words
	Outcome  Outcome
	// Names says where the asked name of an image is kept that was pulled under another:
	// naming.InRuntime or naming.InLedger. It is empty for everything else.
	Names    naming.Mode
	Duration time.Duration
	Err      error // the client's error; nil on success
	// Failed is the runtime's first error about a reference of the image that is not
	// what the client gets: the image may be there under that reference. Reason names
	// them all. It is nil if the runtime has answered.
	Failed error
}

// Outcome is the result for an image name, in a word.
type Outcome string

const (
	OutcomeRegistry Outcome = "registry" // a configured registry serves it
	OutcomeOriginal Outcome = "original" // it is the runtime's own, or pulled from the registry in its name: no other stands in for it
	OutcomeAbsent   Outcome = "absent"   // it is pulled from there because the configured registries lack it
	OutcomeFallback Outcome = "fallback" // the same because one could not be asked, or its pull failed
	OutcomeRemoved  Outcome = "removed"
	OutcomeNone     Outcome = "none"    // it is not on this node
	OutcomeRefused  Outcome = "refused" // fallback: never
	OutcomeFailed   Outcome = "failed"
)

// Rewriter holds the rules. It is safe for concurrent use.
type Rewriter struct {
	lookup  Lookup
	ledger  *ledger.Ledger
	namer   *naming.Namer
	timeout time.Duration
	decided func(context.Context, Decision)
	warn    func(error)
}

// New makes a rewriter.
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

// Methods are the full names of all methods of the CRI, in both versions.
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

// Unary is the table of the unary methods whose messages carry image names, by
// full method name.
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

// Stream is the same for the methods that answer with a stream.
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
	method  string // full name
	began   time.Time
	runtime cri.Client
	// readOnly is set if no client has made the call. An image that is found under a
	// registry's reference then gets no name.
	readOnly bool
}

// forward asks the runtime the call's own method.
func (c call) forward(ctx context.Context, request []byte) ([]byte, error) {
	return c.runtime.Invoke(ctx, c.method, request)
}
