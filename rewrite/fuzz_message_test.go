package rewrite

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// exchange describes the messages of an intercepted method, and the fields that the rewriter may
// change.
type exchange struct {
	request    proto.Message
	mayChange  []string
	response   proto.Message
	mayRestore []string
}

var exchanges = map[string]exchange{
	"PullImage":          {&runtime.PullImageRequest{}, []string{"image.image", "auth"}, &runtime.PullImageResponse{}, nil},
	"ImageStatus":        {&runtime.ImageStatusRequest{}, []string{"image.image"}, &runtime.ImageStatusResponse{}, []string{"image.repo_tags", "image.repo_digests"}},
	"RemoveImage":        {&runtime.RemoveImageRequest{}, []string{"image.image"}, &runtime.RemoveImageResponse{}, nil},
	"ListImages":         {&runtime.ListImagesRequest{}, []string{"filter.image.image"}, &runtime.ListImagesResponse{}, []string{"images.repo_tags", "images.repo_digests"}},
	"StreamImages":       {&runtime.StreamImagesRequest{}, []string{"filter.image.image"}, &runtime.StreamImagesResponse{}, []string{"images.repo_tags", "images.repo_digests"}},
	"CreateContainer":    {&runtime.CreateContainerRequest{}, []string{"config.image.image", "config.mounts.image.image"}, &runtime.CreateContainerResponse{}, nil},
	"ListContainers":     {&runtime.ListContainersRequest{}, nil, &runtime.ListContainersResponse{}, []string{"containers.image.image", "containers.image_ref"}},
	"StreamContainers":   {&runtime.StreamContainersRequest{}, nil, &runtime.StreamContainersResponse{}, []string{"containers.image.image", "containers.image_ref"}},
	"ContainerStatus":    {&runtime.ContainerStatusRequest{}, nil, &runtime.ContainerStatusResponse{}, []string{"status.image.image", "status.image_ref"}},
	"PodSandboxStatus":   {&runtime.PodSandboxStatusRequest{}, nil, &runtime.PodSandboxStatusResponse{}, []string{"containers_statuses.image.image", "containers_statuses.image_ref"}},
	"GetContainerEvents": {&runtime.GetEventsRequest{}, nil, &runtime.ContainerEventResponse{}, []string{"containers_statuses.image.image", "containers_statuses.image_ref"}},
}

// FuzzMessages passes arbitrary bytes to every interceptor: a request, the runtime's answer to
// it, and the runtime's answers to ImageStatus. Each output must equal the input, or be a message
// of the same type that differs only in the fields that the method may change. Unknown fields
// must stay.
func FuzzMessages(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, request, answer, image []byte) {
		for _, mirrored := range []bool{true, false} {
			registries := []memoryRegistry{{host: hub, lies: mirrored, credentials: Credentials{Username: "admin", ServerAddress: "http://" + hub}}}
			lookup := memoryLookup{runtime: newMemoryRuntime(), registries: registries, outcomes: new([]string)}
			begin := func(method string) *fuzzed {
				rewriter := New(Options{Lookup: lookup, Ledger: fuzzLedger()})
				return &fuzzed{T: t, rewriter: rewriter, method: method, request: request, answer: answer, image: image, mirrored: mirrored}
			}
			methods := New(Options{})
			for method := range methods.Unary() {
				begin(method).unary()
			}
			for method := range methods.Stream() {
				begin(method).stream()
			}
		}
	})
}

// fuzzImage is the ID of the image in testdata/fuzz/FuzzMessages.
const fuzzImage = "sha256:32e6526f8c13ed6ad692871588e2c59f5f283b24553460e53b304bace8a13a28"

// fuzzLedger returns a ledger with a name, without a file.
func fuzzLedger() *ledger.Ledger {
	l := ledger.New()
	_ = l.Apply(ledger.Change{
		SetNames: []ledger.Entry{{Original: "docker.io/library/nginx:1.25", Image: fuzzImage, Stored: hub + "/library/nginx:1.25"}},
		Hide:     []ledger.ImageRef{{Reference: hub + "/library/nginx:1.25", Image: fuzzImage}},
	})
	_ = l.RecordContainer(ledger.Container{ID: "1", Asked: "nginx:1.25", Sent: fuzzImage})
	return l
}

// fuzzed is one call with arbitrary bytes.
type fuzzed struct {
	*testing.T
	rewriter               *Rewriter
	method                 string
	request, answer, image []byte
	mirrored               bool       // images are in the registry, and on the node only under its references
	mutex                  sync.Mutex // the runtime may receive concurrent calls
	given                  [][]byte
}

func (f *fuzzed) exchange() exchange { return exchanges[path.Base(f.method)] }

// invoke is the runtime. It must receive only the request and calls of ImageStatus.
func (f *fuzzed) invoke(_ context.Context, method string, sent []byte) ([]byte, error) {
	answer := f.image
	if method == f.method {
		f.wantForwarded(sent)
		answer = f.answer
	} else if !strings.HasPrefix(f.method, strings.TrimSuffix(method, "ImageService/ImageStatus")) {
		f.Errorf("%s calls %s", f.method, method)
	}
	status := &runtime.ImageStatusRequest{}
	if f.mirrored && path.Base(method) == "ImageStatus" && proto.Unmarshal(sent, status) == nil {
		if name, err := imagename.Parse(status.GetImage().GetImage()); err == nil && imagename.Host(name.String()) != hub {
			answer = nil
		}
	}
	if method == f.method {
		f.mutex.Lock()
		defer f.mutex.Unlock()
		f.given = append(f.given, answer)
	}
	return answer, nil
}

func (f *fuzzed) wantForwarded(sent []byte) {
	if !bytes.Equal(sent, f.request) && !equalBut(sent, f.request, f.exchange().request, f.exchange().mayChange) {
		f.Errorf("%s: forwarded %x for %x", f.method, sent, f.request)
	}
}

func (f *fuzzed) unary() {
	hidden := f.hidden()
	got, err := f.rewriter.Unary()[f.method](f.Context(), f.request, f.invoke)
	if err != nil || len(got) > 0 || !hidden {
		f.wantAnswered(got, err)
	}
}

func (f *fuzzed) stream() {
	forward, transform, err := f.rewriter.Stream()[f.method](f.Context(), f.request, f.invoke)
	if err != nil {
		f.Fatalf("%s: %v", f.method, err)
	}
	f.wantForwarded(forward)
	f.given = [][]byte{f.answer}
	f.wantAnswered(transform(f.answer))
}

// wantAnswered checks that the client gets an answer of the runtime, unchanged or with other
// names. An answer must not be encoded again without a change.
func (f *fuzzed) wantAnswered(got []byte, err error) {
	kind, fields := f.exchange().response, f.exchange().mayRestore
	answered := slices.ContainsFunc(f.given, func(given []byte) bool {
		return bytes.Equal(got, given) || equalBut(got, given, kind, fields) && !equalBut(got, given, kind, nil)
	})
	if err != nil || !answered {
		f.Errorf("%s: answered %x (%v) for %x", f.method, got, err, f.given)
	}
}

// hidden reports whether the call asks for a hidden image. The answer may then be empty.
func (f *fuzzed) hidden() bool {
	status := map[string][]byte{"ImageStatus": f.answer, "RemoveImage": f.image}[path.Base(f.method)]
	request, response := &runtime.ImageStatusRequest{}, &runtime.ImageStatusResponse{} // RemoveImageRequest has the same first field
	if errors.Join(proto.Unmarshal(f.request, request), proto.Unmarshal(status, response)) != nil {
		return false
	}
	name, err := imagename.Parse(request.GetImage().GetImage())
	return err == nil && f.rewriter.ledger.IsHidden(name.String(), response.GetImage().GetId())
}

// equalBut reports whether two encoded messages of a type are equal except for some fields.
func equalBut(a, b []byte, kind proto.Message, fields []string) bool {
	left, right := kind.ProtoReflect().New(), kind.ProtoReflect().New()
	if proto.Unmarshal(a, left.Interface()) != nil || proto.Unmarshal(b, right.Interface()) != nil {
		return false
	}
	for _, field := range fields {
		clearField(left, field)
		clearField(right, field)
	}
	return proto.Equal(left.Interface(), right.Interface())
}

// clearField clears a field given by its path, for example "images.repo_tags" of all images.
func clearField(message protoreflect.Message, path string) {
	first, rest, nested := strings.Cut(path, ".")
	field := message.Descriptor().Fields().ByName(protoreflect.Name(first))
	switch {
	case !nested:
		message.Clear(field)
	case field.IsList():
		list := message.Get(field).List()
		for i := range list.Len() {
			clearField(list.Get(i).Message(), rest)
		}
	case message.Has(field):
		clearField(message.Get(field).Message(), rest)
	}
}

// TestExchanges requires an entry in exchanges for each intercepted method, so that
// FuzzMessages tests it.
func TestExchanges(t *testing.T) {
	rewriter := New(Options{})
	intercepted := make(map[string]bool)
	for _, method := range slices.Concat(slices.Collect(maps.Keys(rewriter.Unary())), slices.Collect(maps.Keys(rewriter.Stream()))) {
		intercepted[path.Base(method)] = true
		if _, ok := exchanges[path.Base(method)]; !ok {
			t.Errorf("exchanges has no entry for %s", method)
		}
	}
	for method := range exchanges {
		if !intercepted[method] {
			t.Errorf("exchanges has an entry for %s, which is not intercepted", method)
		}
	}
}
