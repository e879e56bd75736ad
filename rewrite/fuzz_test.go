package rewrite

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"nginx", "nginx:1.25", "localhost:5000/a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sha256:00", "[::1]:5000/a", "A", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, image string) {
		name, err := Parse(image)
		if err != nil {
			return
		}
		if again, err := Parse(name.String()); err != nil || again.String() != name.String() {
			t.Errorf("%q means %s, which means %v (%v)", image, name, again, err)
		}
		if asked, err := reference.ParseNormalizedNamed(image); err == nil {
			if digested, ok := asked.(reference.Digested); ok && name.(reference.Digested).Digest() != digested.Digest() {
				t.Errorf("%q: the digest became %s", image, name)
			}
		}
		if repository(name.String()) != name.Name() || domain(name.String()) != reference.Domain(name) {
			t.Errorf("%s: repository %s, domain %s", name, repository(name.String()), domain(name.String()))
		}
	})
}

// FuzzMessages gives arbitrary bytes to every interceptor, as the request and
// as the runtime's answer. What is forwarded must be what came, or a message
// that keeps all fields but the names.
func FuzzMessages(f *testing.F) {
	request, _ := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	list, _ := proto.Marshal(&runtime.ListImagesResponse{Images: []*runtime.Image{{Id: "sha256:1", RepoTags: []string{hub + "/library/nginx:1.25"}}}})
	status, _ := proto.Marshal(&runtime.ContainerStatusResponse{Status: &runtime.ContainerStatus{Image: &runtime.ImageSpec{Image: hub + "/library/nginx:1.25"}}})
	f.Add(request, list)
	f.Add(request, status)
	f.Add([]byte{0xff}, []byte{0x0a, 0x01})
	f.Add(ofTheFuture(f, &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}}), ofTheFuture(f, &runtime.ListImagesResponse{Images: []*runtime.Image{{Id: "sha256:1", RepoTags: []string{hub + "/library/nginx:1.25"}}}}))
	f.Add(ofTheFuture(f, &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: "nginx:1.25"}}}), ofTheFuture(f, &runtime.ImageStatusResponse{Image: &runtime.Image{Id: "sha256:1", RepoTags: []string{hub + "/library/nginx:1.25"}}}))
	f.Add(ofTheFuture(f, &runtime.ListImagesRequest{Filter: &runtime.ImageFilter{Image: &runtime.ImageSpec{Image: "nginx:1.25"}}}), ofTheFuture(f, &runtime.ContainerStatusResponse{Status: &runtime.ContainerStatus{Image: &runtime.ImageSpec{Image: hub + "/library/nginx:1.25"}}}))
	ledger, err := OpenLedger(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	if err := ledger.apply(change{
		Name: []entry{{Original: "docker.io/library/nginx:1.25", Image: "sha256:1", Stored: hub + "/library/nginx:1.25"}},
		Hide: []hiding{{Reference: hub + "/library/nginx:1.25", Image: "sha256:1"}},
	}); err != nil {
		f.Fatal(err)
	}
	before, _ := ledger.snapshot()
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		rewriter := New(Options{Lookup: memoryLookup{runtime: newMemoryRuntime(), forgotten: new([]string)}, Ledger: ledger})
		for _, method := range slices.Sorted(maps.Keys(rewriter.Unary())) {
			var last []byte
			got, err := rewriter.Unary()[method](t.Context(), request, func(_ context.Context, called string, sent []byte) ([]byte, error) {
				if called == method {
					last = sent
				}
				return answer, nil
			})
			if err == nil && !bytes.Equal(got, answer) && !sameButNames(got, answer, &runtime.ListImagesResponse{}, &runtime.ImageStatusResponse{}, &runtime.ContainerStatusResponse{}) {
				t.Errorf("%s: answered %x for %x", method, got, answer)
			}
			if last != nil && !bytes.Equal(last, request) && !sameButNames(last, request, &runtime.PullImageRequest{}, &runtime.CreateContainerRequest{}, &runtime.ListImagesRequest{}) {
				t.Errorf("%s: forwarded %x for %x", method, last, request)
			}
		}
		for _, method := range slices.Sorted(maps.Keys(rewriter.Stream())) {
			forward, transform, err := rewriter.Stream()[method](t.Context(), request, func(context.Context, string, []byte) ([]byte, error) { return answer, nil })
			if err != nil {
				continue
			}
			if !bytes.Equal(forward, request) && !sameButNames(forward, request, &runtime.ListImagesRequest{}) {
				t.Errorf("%s: forwarded %x for %x", method, forward, request)
			}
			got, err := transform(answer)
			if err != nil || !bytes.Equal(got, answer) && !sameButNames(got, answer, &runtime.ListImagesResponse{}) {
				t.Errorf("%s: answered %x, %v for %x", method, got, err, answer)
			}
		}
		// Undo what the calls have taught the ledger.
		now, _ := ledger.snapshot()
		for _, name := range now.Names {
			_ = ledger.apply(change{Unname: []string{name.Original}})
		}
		for _, hidden := range now.Hidden {
			_ = ledger.apply(change{Show: []string{hidden.Reference}})
		}
		_ = ledger.apply(change{Name: before.Names, Hide: before.Hidden})
	})
}

// ofTheFuture encodes a message in which each message, at any depth, has a field
// that this version of the CRI does not have.
func ofTheFuture(f *testing.F, message proto.Message) []byte {
	var extend func(protoreflect.Message)
	extend = func(m protoreflect.Message) {
		m.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 5000, protowire.BytesType), "of the future"))
		m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case field.Kind() != protoreflect.MessageKind || field.IsMap():
			case field.IsList():
				for i := range v.List().Len() {
					extend(v.List().Get(i).Message())
				}
			default:
				extend(v.Message())
			}
			return true
		})
	}
	extend(message.ProtoReflect())
	encoded, err := proto.Marshal(message)
	if err != nil {
		f.Fatal(err)
	}
	return encoded
}

// sameButNames tells whether a and b are equal as one of the messages, once all
// that the rewriter may change is taken out of them.
func sameButNames(a, b []byte, messages ...proto.Message) bool {
	if len(a) == 0 {
		return true // an answer without an image, for one that is hidden
	}
	for _, message := range messages {
		left, right := message, proto.Clone(message)
		if proto.Unmarshal(a, left) == nil && proto.Unmarshal(b, right) == nil {
			clearNames(left)
			clearNames(right)
			if proto.Equal(left, right) {
				return true
			}
		}
	}
	return false
}

func clearNames(message proto.Message) {
	clearImage := func(image *runtime.Image) {
		if image != nil {
			image.RepoTags, image.RepoDigests = nil, nil
		}
	}
	clearSpec := func(spec *runtime.ImageSpec) {
		if spec != nil {
			spec.Image = ""
		}
	}
	switch m := message.(type) {
	case *runtime.ListImagesResponse:
		for _, image := range m.Images {
			clearImage(image)
		}
	case *runtime.ImageStatusResponse:
		clearImage(m.Image)
	case *runtime.ContainerStatusResponse:
		if m.Status != nil {
			clearSpec(m.Status.Image)
			m.Status.ImageRef = ""
		}
	case *runtime.PullImageRequest:
		clearSpec(m.Image)
		m.Auth = nil
	case *runtime.CreateContainerRequest:
		clearSpec(m.GetConfig().GetImage())
		for _, mount := range m.GetConfig().GetMounts() {
			clearSpec(mount.GetImage())
		}
	case *runtime.ListImagesRequest:
		clearSpec(m.GetFilter().GetImage())
	}
}

func FuzzLedgerFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"names":[{"original":"docker.io/library/a:1","image":"sha256:1","stored":"sealos.hub:5000/library/a:1","at":"2026-01-02T03:04:05Z"}],"hidden":[{"reference":"sealos.hub:5000/library/a:1","image":"sha256:1"}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, content []byte) {
		stored, err := decodeDocument(content)
		if err != nil {
			return
		}
		l := newLedger(nil)
		for _, name := range stored.Names {
			l.name(name)
		}
		for _, hidden := range stored.Hidden {
			l.hide(hidden)
		}
		first, _ := l.snapshot()
		encoded, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeDocument(encoded); err != nil {
			t.Errorf("what was read from %q can't be read again: %v", content, err)
		}
	})
}
