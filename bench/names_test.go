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

// shownNames returns the names that CRI shows of an image.
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

// The runtime that keeps names changes them as the shim's own client of containerd asks,
// and CRI shows the change.
func TestNamesAreKept(t *testing.T) {
	client := dialStore(t, true)
	images := containerd.Images{Invoke: func(ctx context.Context, method string, request []byte) ([]byte, error) {
		return proxytest.Invoke(ctx, client, method, request)
	}}
	ctx := t.Context()
	if names := shownNames(t, client, imageID(0)); names != nil {
		t.Fatalf("before the pull the image has the names %q", names)
	}
	if _, err := pulls(testRegistry, false)[0].call(ctx, client); err != nil {
		t.Fatal(err)
	}
	const i = served / 2
	stored, digest := storedName(i, testRegistry), storedDigest(i, testRegistry)
	if names := shownNames(t, client, imageID(i)); !slices.Equal(names, []string{stored, digest}) {
		t.Errorf("after the pull the image has the names %q", names)
	}
	listed, err := images.List(ctx, `name~="^`+testRegistry+`/library/service-050[:@]"`)
	if err != nil || len(listed) != 2 {
		t.Fatalf("listed %v, %v, want two names", listed, err)
	}
	for range 2 { // the second time it is there
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
		t.Errorf("after the naming the image has the names %q", names)
	}
	if record, err := images.Get(ctx, stored); record != nil || err != nil {
		t.Errorf("the deleted name is %v, %v", record, err)
	}
	if _, err := images.List(ctx, "labels.foo==bar"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an unknown filter: %v", err)
	}
	if _, err := containerStatusStep(i, testRegistry, true).call(ctx, client); err != nil {
		t.Error(err)
	}
}
