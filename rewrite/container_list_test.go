package rewrite

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// made creates a container with the calls of kubelet or crictl.
func (n *node) made(image, specified string) string {
	n.t.Helper()
	response := &runtime.CreateContainerResponse{}
	config := &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: image, UserSpecifiedImage: specified}}
	if err := n.call(n.t.Context(), "RuntimeService", "CreateContainer", &runtime.CreateContainerRequest{Config: config}, response); err != nil {
		n.t.Fatal(err)
	}
	return response.ContainerId
}

// TestListContainersShowsWhatWasAsked checks that lists show the image string in the
// CreateContainer request: with both runtimes, after a restart of the shim, and in a stream.
func TestListContainersShowsWhatWasAsked(t *testing.T) {
	for _, crio := range []bool{false, true} {
		n := newNode(t)
		n.runtime.crio = crio
		n.push(storedName, "quay.io/own:1")
		id := n.mustPull("nginx:1.25")
		n.mustPull("quay.io/own:1")
		want := make(map[string]string)
		for _, image := range []string{"nginx:1.25", "docker.io/library/nginx:1.25", "quay.io/own:1", id} {
			want[n.made(image, "nginx:1.25")] = image
		}
		n.reopenLedger()
		check := func(listed map[string]*runtime.Container) {
			t.Helper()
			if len(listed) != len(want) {
				t.Errorf("crio %v: %d containers", crio, len(listed))
			}
			for container, image := range want {
				if got := listed[container]; got.GetImage().GetImage() != image || strings.Contains(got.ImageRef, hub) {
					t.Errorf("crio %v: %s is of %v, %s; want %s", crio, container, got.GetImage(), got.ImageRef, image)
				}
			}
		}
		check(listContainers(n.client))
		_, transform, err := n.rewriter.Stream()["/runtime.v1.RuntimeService/StreamContainers"](t.Context(), nil, n.runtime.invoke)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := n.runtime.invoke(t.Context(), "/runtime.v1.RuntimeService/ListContainers", nil)
		if err != nil {
			t.Fatal(err)
		}
		streamed, err := transform(raw)
		response := &runtime.StreamContainersResponse{}
		if err != nil || proto.Unmarshal(streamed, response) != nil {
			t.Fatal(err)
		}
		listed := make(map[string]*runtime.Container)
		for _, container := range response.Containers {
			listed[container.Id] = container
		}
		check(listed)
		restore, ok := n.rewriter.Pass()["/runtime.v1.RuntimeService/ListContainers"](nil)
		if shown := restore(t.Context(), raw, n.runtime.invoke); !ok || string(shown) != string(streamed) {
			t.Errorf("passed: %v, %q", ok, shown)
		}
		// The ledger drops containers that no longer exist.
		clear(n.runtime.containers)
		if _, err := transform(nil); err != nil || !n.ledger.HasContainers() {
			t.Errorf("a stream that had them: %v", err)
		}
		if listContainers(n.client); n.ledger.HasContainers() {
			t.Error("the ledger still has removed containers")
		}
	}
}

// A list of containers without anything to restore is not decoded.
func TestListContainersPassesAsItIs(t *testing.T) {
	n := newNode(t)
	pulledFromHub(n)
	answer := []byte{0x12, 0x02, 0x0a, 0x00, 0x0a, 0x03, 0x0a, 0x01, 'x'} // not as proto.Marshal writes it
	got, err := n.rewriter.Unary()["/runtime.v1.RuntimeService/ListContainers"](t.Context(), nil, func(context.Context, string, []byte) ([]byte, error) { return answer, nil })
	if err != nil || string(got) != string(answer) {
		t.Errorf("got %x, %v", got, err)
	}
}

// If two originals share an image, the status shows the one that the user specified. kubelet
// sends an ID and the specified name. containerd shows this name in lists only, and CRI-O
// never.
func TestStatusShowsTheSpecifiedName(t *testing.T) {
	for _, crio := range []bool{false, true} {
		n := newNode(t)
		n.runtime.crio = crio
		n.push(hub + "/pause:3.9")
		n.mustPull("registry.k8s.io/pause:3.9")
		id := n.mustPull("k8s.gcr.io/pause:3.9")
		for _, specified := range []string{"k8s.gcr.io/pause:3.9", "registry.k8s.io/pause:3.9"} {
			for _, image := range []string{id, specified} {
				s := containerStatus(n.client, n.made(image, specified))
				if s.Image.Image != specified || imagename.Repository(s.ImageRef) != imagename.Repository(specified) {
					t.Errorf("crio %v: %s of %s shows %s, %s", crio, specified, image, s.Image.Image, s.ImageRef)
				}
			}
		}
	}
}

// cri-dockerd prefixes a digest with docker-pullable:// and an ID with docker://.
func TestPullableReferences(t *testing.T) {
	n := newNode(t)
	n.push(storedName)
	id := n.mustPull("nginx:1.25")
	digest := "@" + n.runtime.remote[storedName].digest
	show := func(ref string) string {
		t.Helper()
		raw, err := proto.Marshal(&runtime.ContainerStatusResponse{Status: &runtime.ContainerStatus{
			Id: "1", Image: &runtime.ImageSpec{Image: storedName}, ImageRef: ref,
		}})
		if err != nil {
			t.Fatal(err)
		}
		const method = "/runtime.v1.RuntimeService/ContainerStatus"
		shown, err := n.rewriter.Unary()[method](t.Context(), nil, func(ctx context.Context, called string, request []byte) ([]byte, error) {
			if called == method {
				return raw, nil
			}
			return n.runtime.invoke(ctx, called, request)
		})
		response := &runtime.ContainerStatusResponse{}
		if err != nil || proto.Unmarshal(shown, response) != nil {
			t.Fatal(err)
		}
		return response.Status.ImageRef
	}
	for ref, want := range map[string]string{
		"docker-pullable://" + hub + "/library/nginx" + digest: "docker-pullable://docker.io/library/nginx" + digest,
		"docker-pullable://quay.io/own" + digest:               "docker-pullable://quay.io/own" + digest,
		"docker://" + id:                                       "docker://" + id,
	} {
		if got := show(ref); got != want {
			t.Errorf("%s is shown as %s, want %s", ref, got, want)
		}
	}
	known, _ := n.ledger.Lookup("docker.io/library/nginx" + digest)
	if err := n.ledger.Apply(ledger.RemoveMoved(known)); err != nil {
		t.Fatal(err)
	}
	if got := show("docker-pullable://" + hub + "/library/nginx" + digest); got != "docker://"+id {
		t.Errorf("without a digest it is shown as %s", got)
	}
}
