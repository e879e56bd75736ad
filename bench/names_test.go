package main

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/proxytest"
	"image-cri-shim/rewrite/containerd"
)

// shownNames returns the names of an image that CRI shows.
func shownNames(t *testing.T, client *grpc.ClientConn, image string) []string {
	t.Helper()
	request := imageStatusStep(image, nil)
	raw, err := proxytest.Invoke(t.Context(), client, request.method, request.request)
	response := &runtimeapi.ImageStatusResponse{}
	if err != nil || proto.Unmarshal(raw, response) != nil {
		t.Fatalf("status of %s: %v", image, err)
	}
	return slices.Concat(response.Image.GetRepoTags(), response.Image.GetRepoDigests())
}

// The naming runtime changes names at the request of the shim's containerd client, and CRI
// shows the change.
func TestNamesAreKept(t *testing.T) {
	client := dialStore(t, true)
	images := containerd.Images{Invoke: func(ctx context.Context, method string, request []byte) ([]byte, error) {
		return proxytest.Invoke(ctx, client, method, request)
	}}
	ctx := t.Context()
	if names := shownNames(t, client, imageID(0)); names != nil {
		t.Fatalf("names of the image before the pull: got %q, want none", names)
	}
	if _, err := pulls(testRegistry, false)[0].call(ctx, client); err != nil {
		t.Fatal(err)
	}
	const i = served / 2
	stored, digest := storedName(i, testRegistry), storedDigest(i, testRegistry)
	if names := shownNames(t, client, imageID(i)); !slices.Equal(names, []string{stored, digest}) {
		t.Errorf("names of the image after the pull: got %q", names)
	}
	listed, err := images.List(ctx, `name~="^`+testRegistry+`/library/service-050[:@]"`)
	if err != nil || len(listed) != 2 {
		t.Fatalf("list: got %v, %v, want two names", listed, err)
	}
	for range 2 { // the second time the name exists
		if err := images.Put(ctx, &containerd.Record{Name: userName(i), Target: listed[0].Target, Labels: listed[0].Labels}); err != nil {
			t.Fatal(err)
		}
	}
	for _, record := range listed {
		if err := images.Delete(ctx, record); err != nil {
			t.Fatal(err)
		}
	}
	if names := shownNames(t, client, userName(i)); !slices.Equal(names, []string{userName(i)}) {
		t.Errorf("names of the image after it was renamed: got %q", names)
	}
	if record, err := images.Get(ctx, stored); record != nil || err != nil {
		t.Errorf("get the deleted name: got %v, %v", record, err)
	}
	if _, err := images.List(ctx, "labels.foo==bar"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("unknown filter: got %v, want InvalidArgument", err)
	}
	if _, err := containerStatusStep(i, testRegistry, true).call(ctx, client); err != nil {
		t.Error(err)
	}
}
