package e2e

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	criclient "k8s.io/cri-client/pkg"

	"image-cri-shim/e2e/testbed"
)

// v1alpha2 calls a method of the old API, whose messages are those of v1.
func (n *node) v1alpha2(t *testing.T, method string, request, response proto.Message) {
	t.Helper()
	if err := n.through.Connection.Invoke(testContext(t), "/runtime.v1alpha2."+method, request, response); err != nil {
		t.Fatalf("v1alpha2 %s: %v", method, err)
	}
}

// needV1alpha2 skips a test if the runtime no longer serves the old API, like containerd 2.0.
// Clients of the shim must then get the runtime's error.
func (n *node) needV1alpha2(t *testing.T) {
	t.Helper()
	version := func(client *testbed.Client) error {
		return client.Connection.Invoke(testContext(t), "/runtime.v1alpha2.RuntimeService/Version", &runtimeapi.VersionRequest{}, &runtimeapi.VersionResponse{})
	}
	want, got := version(n.direct), version(n.through)
	if status.Code(want) != codes.Unimplemented {
		return
	}
	if !sameError(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	t.Skip("this runtime does not serve v1alpha2")
}

func TestV1alpha2(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		n.needV1alpha2(t)
		id := shared.id(t, shared.private, "library/nginx:1.25")
		spec := &runtimeapi.ImageSpec{Image: "nginx:1.25"}

		version := &runtimeapi.VersionResponse{}
		n.v1alpha2(t, "RuntimeService/Version", &runtimeapi.VersionRequest{}, version)
		if version.RuntimeName == "" {
			t.Error("the version response names no runtime")
		}
		pulled := &runtimeapi.PullImageResponse{}
		n.v1alpha2(t, "ImageService/PullImage", &runtimeapi.PullImageRequest{Image: spec}, pulled)
		if pulled.ImageRef != id {
			t.Fatalf("pulled image %s, want %s", pulled.ImageRef, id)
		}
		for _, name := range []string{"nginx:1.25", "docker.io/library/nginx:1.25", id} {
			found := &runtimeapi.ImageStatusResponse{}
			n.v1alpha2(t, "ImageService/ImageStatus", &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}}, found)
			if want := n.status(t, n.through, name); found.Image.GetId() != id || !proto.Equal(found.Image, want) {
				t.Errorf("status of %s: got %v, in v1 %v", name, found.Image, want)
			}
		}
		listed := &runtimeapi.ListImagesResponse{}
		n.v1alpha2(t, "ImageService/ListImages", &runtimeapi.ListImagesRequest{}, listed)
		if !slices.ContainsFunc(listed.Images, func(image *runtimeapi.Image) bool {
			return image.Id == id && slices.Equal(image.RepoTags, []string{"docker.io/library/nginx:1.25"})
		}) {
			t.Errorf("the list shows %v", listed.Images)
		}
		n.v1alpha2(t, "ImageService/RemoveImage", &runtimeapi.RemoveImageRequest{Image: spec}, &runtimeapi.RemoveImageResponse{})
		if image := n.status(t, n.direct, id); image != nil {
			t.Errorf("the image still exists: %v", image)
		}
	})
}

func TestV1alpha2Container(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	n.needV1alpha2(t)
	n.pull(t, n.through, "nginx:1.25", nil)
	pod := n.startPod(t)
	created := &runtimeapi.CreateContainerResponse{}
	n.v1alpha2(t, "RuntimeService/CreateContainer", pod.CreateRequest("web", "nginx:1.25"), created)
	found := &runtimeapi.ContainerStatusResponse{}
	n.v1alpha2(t, "RuntimeService/ContainerStatus", &runtimeapi.ContainerStatusRequest{ContainerId: created.ContainerId}, found)
	if got, want := found.GetStatus().GetImage().GetImage(), "docker.io/library/nginx:1.25"; got != want {
		t.Errorf("the status shows image %s, want %s", got, want)
	}
}

// TestStreamedList lists with kubelet's CRIListStreaming client. It falls back only if it
// receives the runtime's Unimplemented.
func TestStreamedList(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		id := n.pull(t, n.through, "nginx:1.25", nil)
		ctx := testContext(t)
		images, err := criclient.NewRemoteImageServiceBuilder().
			WithEndpoint("unix://" + n.shim.Socket()).WithConnectionTimeout(time.Minute).WithUseStreaming(true).Build(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = images.Close(ctx) }()
		listed, err := images.ListImages(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(listed, func(image *runtimeapi.Image) bool {
			return image.Id == id && slices.Equal(image.RepoTags, []string{"docker.io/library/nginx:1.25"})
		}) {
			t.Errorf("the list shows %v", listed)
		}
	})
}

func TestUnknownMethod(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		call := func(method string) (want, got error) {
			request, response := &runtimeapi.VersionRequest{}, &runtimeapi.VersionResponse{}
			return n.direct.Connection.Invoke(testContext(t), method, request, response),
				n.through.Connection.Invoke(testContext(t), method, request, response)
		}
		for _, method := range []string{"/runtime.v2.RuntimeService/Version", "/runtime.v1.ImageService/Nothing"} {
			want, got := call(method)
			if status.Code(want) != codes.Unimplemented || !sameError(got, want) {
				t.Errorf("%s: got %v, want %v", method, got, want)
			}
		}
	})
}

// TestContainerdsOwnAPI calls containerd's other services, which share its socket, through
// the shim.
func TestContainerdsOwnAPI(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	if _, err := exec.LookPath("ctr"); err != nil {
		t.Skip("ctr is not installed")
	}
	n.pull(t, n.through, "nginx:1.25", nil)
	ctr := func(socket string, arguments ...string) string {
		arguments = append([]string{"--address", socket, "-n", "k8s.io"}, arguments...)
		output, err := exec.CommandContext(testContext(t), "ctr", arguments...).Output() // without warnings on stderr
		if err != nil {
			t.Fatalf("ctr %s: %v %s", strings.Join(arguments, " "), err, stderrOf(err))
		}
		return string(output)
	}
	for _, arguments := range [][]string{{"images", "ls"}, {"version"}, {"namespaces", "ls"}, {"plugins", "ls"}, {"content", "ls"}} {
		want, got := ctr(n.runtime.Socket(), arguments...), ctr(n.shim.Socket(), arguments...)
		if arguments[0] == "content" { // its output includes an age
			want, got = digests(want), digests(got)
		}
		if got != want {
			t.Errorf("ctr %s through the shim:\n%s\nwithout it:\n%s", strings.Join(arguments, " "), got, want)
		}
	}
	listed := ctr(n.shim.Socket(), "images", "ls")
	if !strings.Contains(listed, "docker.io/library/nginx:1.25") || strings.Contains(listed, shared.private.Host()+"/library/nginx") {
		t.Errorf("containerd's own API does not show only the requested name:\n%s", listed)
	}
}

// stderrOf returns the standard error of a failed command.
func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}

// digests returns the first word of each line.
func digests(table string) string {
	var all []string
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 0 {
			all = append(all, fields[0])
		}
	}
	return strings.Join(all, "\n")
}

// TestDeadline requires that a client gets DeadlineExceeded if its pull's deadline passes
// (critest expects it).
func TestDeadline(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		ctx, cancel := context.WithTimeout(testContext(t), time.Millisecond)
		defer cancel()
		images := runtimeapi.NewImageServiceClient(n.through.Connection)
		_, err := images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
	})
}
