package rewrite

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// addMessages adds a call of each method with names to change, with and without fields of future
// CRI versions. Messages of a real containerd are in testdata/fuzz.
func addMessages(f *testing.F) {
	const stored = hub + "/library/nginx:1.25"
	spec := &runtime.ImageSpec{Image: "nginx:1.25"}
	image := &runtime.Image{Id: fuzzImage, RepoTags: []string{stored}}
	status := &runtime.ImageStatusResponse{Image: image}
	list := &runtime.ListImagesResponse{Images: []*runtime.Image{image}}
	container := &runtime.ContainerStatus{Image: &runtime.ImageSpec{Image: stored}, ImageRef: stored}
	for _, call := range []struct{ request, answer proto.Message }{
		{&runtime.PullImageRequest{Image: spec, Auth: &runtime.AuthConfig{Username: "caller"}}, &runtime.PullImageResponse{ImageRef: fuzzImage}},
		{&runtime.ImageStatusRequest{Image: spec, Verbose: true}, status},
		{&runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: stored}}, status},
		{&runtime.RemoveImageRequest{Image: spec}, &runtime.RemoveImageResponse{}},
		{&runtime.ListImagesRequest{Filter: &runtime.ImageFilter{Image: spec}}, list},
		{&runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: spec, Mounts: []*runtime.Mount{{Image: spec}}}}, &runtime.CreateContainerResponse{}},
		{&runtime.ListContainersRequest{}, &runtime.ListContainersResponse{Containers: []*runtime.Container{
			{Id: "1", Image: &runtime.ImageSpec{Image: fuzzImage}, ImageRef: stored},
		}}},
		{&runtime.ContainerStatusRequest{ContainerId: "1"}, &runtime.ContainerStatusResponse{Status: container}},
		{&runtime.PodSandboxStatusRequest{PodSandboxId: "1"}, &runtime.PodSandboxStatusResponse{ContainersStatuses: []*runtime.ContainerStatus{container}}},
		{&runtime.GetEventsRequest{}, &runtime.ContainerEventResponse{ContainersStatuses: []*runtime.ContainerStatus{container}}},
	} {
		f.Add(encode(f, call.request), encode(f, call.answer), encode(f, status))
		f.Add(ofTheFuture(f, call.request), ofTheFuture(f, call.answer), ofTheFuture(f, status))
		// Encoded unlike any library does, without a name to change.
		f.Add(slices.Concat(future, encode(f, call.request)), slices.Concat(future, encode(f, call.answer)), []byte{})
		f.Add(slices.Concat(future, encode(f, call.request)), slices.Concat(future, field(1, []byte("\x0a\x08sha256:2"))), []byte{})
	}
	f.Add([]byte{0xff}, []byte{0x0a, 0x01}, []byte{})
}

func encode(f *testing.F, message proto.Message) []byte {
	encoded, err := proto.Marshal(message)
	if err != nil {
		f.Fatal(err)
	}
	return encoded
}

// ofTheFuture encodes a message and adds an unknown field to each message in it, at any depth.
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
	return encode(f, message)
}
