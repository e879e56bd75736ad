package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

func TestStatusNormalisesNames(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:latest")
	id := n.mustPull("nginx")
	for _, asked := range []string{"nginx", "nginx:latest", "docker.io/library/nginx", "docker.io/nginx:latest", "index.docker.io/library/nginx"} {
		if image := n.status(asked); image.GetId() != id {
			t.Errorf("%s: %s", asked, names(image))
		}
	}
	if image := n.status("nginx:1.25"); image != nil {
		t.Errorf("another tag: %s", names(image))
	}
}

func TestStatusAsksNoMoreThanItMust(t *testing.T) {
	n := newNode(t)
	n.push(hub+"/library/nginx:latest", "quay.io/app:1")
	nginx := n.mustPull("nginx")
	app := n.mustPull("quay.io/app:1")
	for asked, want := range map[string][]string{
		"nginx":                 {"ImageStatus nginx", "ImageStatus " + nginx},
		"quay.io/app:1":         {"ImageStatus quay.io/app:1"},
		app:                     {"ImageStatus " + app},
		strings.Repeat("0", 64): {"ImageStatus " + strings.Repeat("0", 64)},
	} {
		n.runtime.seen()
		n.status(asked)
		got := n.runtime.seen()
		slices.Sort(got) // the name and the ledger's image are asked for concurrently
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the runtime was asked %q, want only %q", asked, got, want)
		}
	}
}

// Tools that don't use the CRI change images without the shim.
func TestStatusFollowsTheRuntime(t *testing.T) {
	t.Run("another image is loaded under the name", func(t *testing.T) {
		n := newNode(t)
		n.push(hub+"/library/nginx:1.25", "docker.io/library/nginx:1.25") // not the same image
		direct := client{t: t, runtime: n.runtime}
		n.mustPull("nginx:1.25")
		loaded := direct.mustPull("docker.io/library/nginx:1.25")
		if image := n.status("nginx:1.25"); image.GetId() != loaded {
			t.Errorf("status: %s, want the image that was loaded", names(image))
		}
		tagged := 0
		for _, image := range n.list("") {
			tagged += len(image.RepoTags)
		}
		if tagged != 1 {
			t.Errorf("list: %q", allNames(n.list("")))
		}
	})
	t.Run("the image is removed", func(t *testing.T) {
		n := newNode(t)
		n.push(hub + "/library/nginx:1.25")
		id := n.mustPull("nginx:1.25")
		client{t: t, runtime: n.runtime}.remove(id)
		if image := n.status("nginx:1.25"); image != nil || n.ledger.MayRestore() {
			t.Errorf("status: %s; the ledger has %+v", names(image), n.ledger.NamesOf(id))
		}
	})
	t.Run("the image comes back under another name", func(t *testing.T) {
		n := newNode(t)
		n.push(hub + "/library/nginx:1.25")
		n.runtime.remote["quay.io/copy:1"] = n.runtime.remote[hub+"/library/nginx:1.25"]
		direct := client{t: t, runtime: n.runtime}
		direct.remove(n.mustPull("nginx:1.25"))
		id := direct.mustPull("quay.io/copy:1")
		for _, image := range []*runtime.Image{n.status(id), n.status("quay.io/copy:1"), n.list("")[0]} {
			if got := image.GetRepoTags(); !slices.Equal(got, []string{"quay.io/copy:1"}) {
				t.Errorf("tags %q", got)
			}
		}
		if image := n.status("nginx:1.25"); image != nil {
			t.Errorf("found as nginx: %s", names(image))
		}
		n.remove("nginx:1.25")
		if n.status("quay.io/copy:1") == nil {
			t.Error("the copy was removed with the name that it no longer has")
		}
	})
}

// CRI-O until 1.35 returns a digest reference for a pulled image.
func TestStatusByAHiddenDigest(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	id := n.mustPull("nginx:1.25")
	reference := hub + "/library/nginx@" + n.runtime.remote[hub+"/library/nginx:1.25"].digest
	if image := n.status(reference); image.GetId() != id || strings.Contains(names(image), hub) {
		t.Errorf("status of %s: %s", reference, names(image))
	}
	n.remove(reference)
	if image := n.status(id); image != nil {
		t.Errorf("still there: %s", names(image))
	}
}

func TestStatusLearnsNamesFromTheRuntime(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	direct := client{t: t, runtime: n.runtime}
	if _, err := direct.pull(hub+"/library/nginx:1.25", n.runtime.logins[hub]); err == nil {
		t.Fatal("pulled with a server address that has no scheme")
	}
	if _, err := direct.pull(hub+"/library/nginx:1.25", &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"}); err != nil {
		t.Fatal(err)
	}
	image := n.status("nginx:1.25")
	slices.Sort(image.GetRepoTags())
	if !slices.Equal(image.GetRepoTags(), []string{"docker.io/library/nginx:1.25", hub + "/library/nginx:1.25"}) {
		t.Errorf("status: %s, want the requested name beside the one it was loaded under", names(image))
	}
	digest := n.runtime.remote[hub+"/library/nginx:1.25"].digest
	if !slices.Contains(image.RepoDigests, "docker.io/library/nginx@"+digest) || n.status("nginx@"+digest).GetId() != image.Id {
		t.Errorf("status: %s, want the requested name with the digest, too", names(image))
	}
	if name, _ := n.ledger.Lookup("docker.io/library/nginx:1.25"); name.Stored != hub+"/library/nginx:1.25" || name.Image != image.Id {
		t.Errorf("the ledger has %+v", name)
	}
}

func TestStatusErrorsAreTheRuntimes(t *testing.T) {
	n := newNode(t)
	for _, code := range []codes.Code{codes.Unavailable, codes.Unknown, codes.Unimplemented} {
		n.runtime.down = status.Error(code, "containerd is not ready")
		for _, asked := range []string{"nginx", strings.Repeat("0", 64)} {
			encoded, _ := proto.Marshal(&runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: asked}})
			_, err := n.raw(t.Context(), "ImageService", "ImageStatus", encoded)
			if status.Code(err) != code || status.Convert(err).Message() != "containerd is not ready" {
				t.Errorf("%s: %v, want %v", asked, err, n.runtime.down)
			}
		}
	}
}

// CRI-O in enforcing mode answers ImageStatus of a short name with an error.
func TestStatusFindsTheCandidateAfterAnErrorForTheName(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	handle := n.rewriter.Unary()["/runtime.v1.ImageService/ImageStatus"]
	enforcing := func(ctx context.Context, method string, request []byte) ([]byte, error) {
		decoded := &runtime.ImageStatusRequest{}
		if proto.Unmarshal(request, decoded) == nil && decoded.Image.Image == "nginx:1.25" {
			return nil, status.Error(codes.Unknown, "short-name resolution enforced")
		}
		return n.runtime.invoke(ctx, method, request)
	}
	encoded, _ := proto.Marshal(&runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	if _, err := handle(t.Context(), encoded, enforcing); status.Convert(err).Message() != "short-name resolution enforced" {
		t.Errorf("nothing there: %v", err)
	}
	direct := client{t: t, runtime: n.runtime}
	if _, err := direct.pull(hub+"/library/nginx:1.25", &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"}); err != nil {
		t.Fatal(err)
	}
	raw, err := handle(t.Context(), encoded, enforcing)
	response := &runtime.ImageStatusResponse{}
	if err != nil || proto.Unmarshal(raw, response) != nil || response.Image == nil {
		t.Errorf("there under the registry's reference: %v, %v", response, err)
	}
}

func TestAnswersStayAsTheyCameWithoutStoredReferences(t *testing.T) {
	n := newNode(t)
	n.push(hub+"/library/nginx:latest", "quay.io/app:1")
	n.mustPull("nginx") // the ledger is not empty
	// proto.Marshal would not produce this, because the fields are in reverse order.
	answer := []byte{0x12, 0x02, 0x0a, 0x00, 0x0a, 0x03, 0x0a, 0x01, 'x'}
	for _, method := range []string{"ImageService/ImageStatus", "ImageService/ListImages", "RuntimeService/ContainerStatus", "RuntimeService/PodSandboxStatus"} {
		for _, version := range cri.Versions {
			full := "/" + version + "." + method
			got, err := n.rewriter.Unary()[full](t.Context(), nil, func(context.Context, string, []byte) ([]byte, error) { return answer, nil })
			if err != nil || !slices.Equal(got, answer) {
				t.Errorf("%s: %x (%v), want %x", full, got, err, answer)
			}
		}
	}
}

func TestListFilter(t *testing.T) {
	n := newNode(t)
	n.runtime.crio = true // containerd ignores the filter
	n.push(hub+"/library/nginx:latest", "quay.io/app:1")
	n.mustPull("nginx")
	n.mustPull("quay.io/app:1")
	for filter, want := range map[string]int{"": 2, "nginx": 1, "docker.io/library/nginx:latest": 1, "quay.io/app:1": 1, "quay.io/app:2": 0, n.status("nginx").Id: 1, "no name": 0} {
		images := n.list(filter)
		if len(images) != want {
			t.Errorf("%q: %v", filter, allNames(images))
		}
		if strings.Contains(strings.Join(allNames(images), " "), hub) {
			t.Errorf("%q: %v", filter, allNames(images))
		}
	}
}

func TestListFilterAgreesWithStatus(t *testing.T) {
	n := newNode(t)
	n.runtime.crio = true
	const own = hub + "/library/nginx:1.25"
	n.push(own)
	if images := n.list(own); len(images) != 0 {
		t.Errorf("list: %q", allNames(images))
	}
	n.mustPull("nginx:1.25")
	if images, status := n.list(own), n.status(own); len(images) != 0 || status != nil {
		t.Errorf("a hidden reference: list %q, status %s", allNames(images), names(status))
	}
	n.runtime.crio = false // ignores the filter
	if images := n.list(own); len(images) != 1 {
		t.Errorf("without filters the list is %q", allNames(images))
	}
	n.runtime.crio = true
	// The client also pulls it by its own name, then the registry's tag moves.
	n.mustPull(own)
	n.push(own)
	n.runtime.remote[own] = newContent("another")
	n.mustPull("nginx:1.25")
	if images, status := n.list(own), n.status(own); len(images) != 1 || names(images[0]) != names(status) {
		t.Errorf("list %q, status %s", allNames(images), names(status))
	}
}

func TestStreamImages(t *testing.T) {
	n := newNode(t)
	n.push(hub+"/library/nginx:latest", "quay.io/app:1")
	n.mustPull("nginx")
	n.mustPull("quay.io/app:1")
	handle := n.rewriter.Stream()["/runtime.v1.ImageService/StreamImages"]
	filter, _ := proto.Marshal(&runtime.StreamImagesRequest{Filter: &runtime.ImageFilter{Image: &runtime.ImageSpec{Image: "nginx"}}})
	forward, transform, err := handle(t.Context(), filter, n.runtime.invoke)
	if err != nil {
		t.Fatal(err)
	}
	if d := n.decisions[len(n.decisions)-1]; d.Method != "StreamImages" || d.Asked != "nginx" || d.Served != hub+"/library/nginx:latest" || d.Registry != "http://"+hub {
		t.Errorf("decision %+v", d)
	}
	request := &runtime.StreamImagesRequest{}
	if proto.Unmarshal(forward, request) != nil || request.Filter.Image.Image != n.status("nginx").Id {
		t.Errorf("forwarded %v", request)
	}
	for _, image := range []string{"nginx", "quay.io/app:1"} {
		stored := image
		if image == "nginx" {
			stored = hub + "/library/nginx:latest"
		}
		message, _ := proto.Marshal(&runtime.StreamImagesResponse{Images: []*runtime.Image{client{t: t, runtime: n.runtime}.status(stored)}})
		changed, err := transform(message)
		response := &runtime.StreamImagesResponse{}
		if err != nil || proto.Unmarshal(changed, response) != nil {
			t.Fatal(err)
		}
		if want := names(n.status(image)); names(response.Images[0]) != want {
			t.Errorf("%s: %s, want %s", image, names(response.Images[0]), want)
		}
	}
}

// TestRemoveRemovesWhatStatusShows removes a name with three images: the image in the ledger, a
// newer one under the name itself, and one that was preloaded from another registry.
func TestRemoveRemovesWhatStatusShows(t *testing.T) {
	for _, crio := range []bool{false, true} {
		n := newNode(t)
		n.runtime.crio = crio
		const other = "other.hub:5000/library/nginx:1.25"
		lookup := n.rewriter.lookup.(memoryLookup)
		lookup.registries = append(lookup.registries, memoryRegistry{host: "other.hub:5000"})
		n.rewriter.lookup = lookup
		n.push(hub+"/library/nginx:1.25", "docker.io/library/nginx:1.25", other)
		first := n.mustPull("nginx:1.25")
		direct := client{t: t, runtime: n.runtime}
		own := direct.mustPull("docker.io/library/nginx:1.25")
		preloaded := direct.mustPull(other)
		for _, want := range []string{own, preloaded, ""} {
			if image := n.status("nginx:1.25"); image.GetId() != want {
				t.Errorf("crio %v: %s, want %s", crio, names(image), want)
			}
			n.remove("nginx:1.25") // the last removal finds no image, which is not an error
		}
		if images := direct.list(""); len(images) != 1 || images[0].Id != first {
			t.Errorf("crio %v: the runtime has %v", crio, allNames(images))
		}
		if image := n.status(first); len(image.RepoTags) != 0 {
			t.Errorf("crio %v: the image that has lost the name is %s", crio, names(image))
		}
	}
}

func TestRemoveByIDForgetsTheNames(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	id := n.mustPull("nginx:1.25")
	n.remove(id)
	if image := n.status("nginx:1.25"); image != nil || n.ledger.MayRestore() {
		t.Errorf("still there: %s", names(image))
	}
	// If the registry's name is pulled by its own name later, it is not shown as the old name.
	n.mustPull(hub + "/library/nginx:1.25")
	if got := names(n.status(id)); strings.Contains(got, "docker.io") {
		t.Errorf("status: %s", got)
	}
	n.remove(strings.Repeat("0", 64)) // a missing image is not an error
}

func TestRemoveErrorsAreTheRuntimes(t *testing.T) {
	n := newNode(t)
	n.runtime.down = status.Error(codes.Unavailable, "containerd is not ready")
	encoded, _ := proto.Marshal(&runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: "nginx"}})
	if _, err := n.raw(t.Context(), "ImageService", "RemoveImage", encoded); status.Convert(err).Message() != "containerd is not ready" {
		t.Errorf("error %v", err)
	}
	n.runtime.down = nil
	if _, err := n.raw(t.Context(), "ImageService", "RemoveImage", nil); err != nil {
		t.Errorf("an empty request: got the error %v, the runtime itself returns none", err)
	}
}

func TestCreateContainer(t *testing.T) {
	n := newNode(t)
	n.push(hub+"/library/nginx:1.25", "quay.io/data:1")
	id := n.mustPull("nginx:1.25")
	data := n.mustPull("quay.io/data:1")
	create := func(image, mounted string) (*runtime.ContainerConfig, string, error) {
		config := &runtime.ContainerConfig{
			Image:  &runtime.ImageSpec{Image: image, UserSpecifiedImage: "nginx:1.25"},
			Mounts: []*runtime.Mount{{HostPath: "/tmp"}, {Image: &runtime.ImageSpec{Image: mounted}}},
		}
		response := &runtime.CreateContainerResponse{}
		err := n.call(t.Context(), "RuntimeService", "CreateContainer", &runtime.CreateContainerRequest{PodSandboxId: "pod", Config: config}, response)
		return n.runtime.containers[response.ContainerId], response.ContainerId, err
	}
	for image, mounted := range map[string]string{"nginx:1.25": "quay.io/data:1", "docker.io/library/nginx:1.25": data, id: "quay.io/data:1"} {
		config, container, err := create(image, mounted)
		if err != nil {
			t.Fatal(err)
		}
		if config.Image.Image != id || config.Image.UserSpecifiedImage != "nginx:1.25" || config.Mounts[1].Image.Image != data || config.Mounts[0].HostPath != "/tmp" {
			t.Errorf("%s: the runtime got %v", image, config)
		}
		response := &runtime.ContainerStatusResponse{}
		if err := n.call(t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: container}, response); err != nil {
			t.Fatal(err)
		}
		s := response.Status
		if s.Image.Image != "docker.io/library/nginx:1.25" || !strings.HasPrefix(s.ImageRef, "docker.io/library/nginx@sha256:") || s.ImageId != id {
			t.Errorf("%s: the status has %v, %s, %s", image, s.Image, s.ImageRef, s.ImageId)
		}
	}
	encoded, _ := proto.Marshal(&runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: "no/such:image"}}})
	if _, err := n.raw(t.Context(), "RuntimeService", "CreateContainer", encoded); status.Code(err) != codes.NotFound {
		t.Errorf("unknown image: %v", err)
	}
	if !slices.Equal(n.runtime.lastRequest(), encoded) {
		t.Error("a name that is not on the node was changed")
	}
}

func TestCreateContainerWithIDsIsForwardedAsItIs(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	id := n.mustPull("nginx:1.25")
	encoded, _ := proto.Marshal(&runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: id}}})
	n.runtime.seen()
	if _, err := n.raw(t.Context(), "RuntimeService", "CreateContainer", encoded); err != nil {
		t.Fatal(err)
	}
	if calls := n.runtime.seen(); len(calls) != 1 || !slices.Equal(n.runtime.lastRequest(), encoded) {
		t.Errorf("calls %v", calls)
	}
}

func TestContainerStatusPrefersTheSpecifiedName(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/pause:3.9")
	n.mustPull("registry.k8s.io/pause:3.9")
	n.mustPull("k8s.gcr.io/pause:3.9")
	for specified, want := range map[string]string{
		"k8s.gcr.io/pause:3.9":      "k8s.gcr.io/pause",
		"registry.k8s.io/pause:3.9": "registry.k8s.io/pause",
		"":                          "k8s.gcr.io/pause", // the string in the CreateContainer request
	} {
		create := &runtime.CreateContainerResponse{}
		config := &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: "k8s.gcr.io/pause:3.9", UserSpecifiedImage: specified}}
		if err := n.call(t.Context(), "RuntimeService", "CreateContainer", &runtime.CreateContainerRequest{Config: config}, create); err != nil {
			t.Fatal(err)
		}
		response := &runtime.ContainerStatusResponse{}
		if err := n.call(t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: create.ContainerId}, response); err != nil {
			t.Fatal(err)
		}
		if s := response.Status; s.Image.Image != want+":3.9" || !strings.HasPrefix(s.ImageRef, want+"@") {
			t.Errorf("specified %q: %s, %s", specified, s.Image.Image, s.ImageRef)
		}
	}
}

// An event shows the same names of containers as their status.
func TestStatusesInOtherMessages(t *testing.T) {
	n := newNode(t)
	const stored = hub + "/library/nginx:1.25"
	n.push(stored)
	id := n.mustPull("nginx:1.25")
	statuses := func(image string) []*runtime.ContainerStatus {
		return []*runtime.ContainerStatus{
			{Id: "1", Image: &runtime.ImageSpec{Image: image}, ImageId: id}, {Id: "2", Image: &runtime.ImageSpec{Image: "quay.io/app:1"}},
		}
	}
	for _, version := range cri.Versions {
		request := []byte("as it is")
		forward, events, err := n.rewriter.Stream()["/"+version+".RuntimeService/GetContainerEvents"](t.Context(), request, nil)
		if err != nil || string(forward) != string(request) {
			t.Fatalf("forwarded %q, %v", forward, err)
		}
		sandbox := "/" + version + ".RuntimeService/PodSandboxStatus"
		answer := func(raw []byte) intercept.Invoke {
			return func(_ context.Context, method string, sent []byte) ([]byte, error) {
				if method != sandbox || string(sent) != string(request) {
					t.Errorf("the runtime was asked %s %q", method, sent)
				}
				return raw, nil
			}
		}
		for name, test := range map[string]struct {
			message   func(image string) proto.Message
			transform func([]byte) ([]byte, error)
		}{
			"an event": {
				func(image string) proto.Message {
					return &runtime.ContainerEventResponse{ContainerId: "1", ContainersStatuses: statuses(image)}
				}, events,
			},
			"a sandbox's status": {
				func(image string) proto.Message {
					return &runtime.PodSandboxStatusResponse{Timestamp: 1, ContainersStatuses: statuses(image)}
				},
				func(raw []byte) ([]byte, error) {
					return n.rewriter.Unary()[sandbox](t.Context(), request, answer(raw))
				},
			},
			"a sandbox's status that passes": {
				func(image string) proto.Message {
					return &runtime.PodSandboxStatusResponse{Timestamp: 1, ContainersStatuses: statuses(image)}
				},
				func(raw []byte) ([]byte, error) {
					restore, ok := n.rewriter.Pass()[sandbox](request)
					if !ok {
						return nil, errors.New("it does not pass")
					}
					return restore(t.Context(), raw, nil), nil
				},
			},
		} {
			raw, err := proto.Marshal(test.message(stored))
			if err != nil {
				t.Fatal(err)
			}
			shown, err := test.transform(raw)
			if err != nil {
				t.Fatal(err)
			}
			want := test.message("docker.io/library/nginx:1.25")
			got := want.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(shown, got); err != nil || !proto.Equal(got, want) {
				t.Errorf("%s, %s: got %v (%v), want %v", version, name, got, err, want)
			}
			for _, message := range []string{"", "\xff", "no message with " + stored} {
				if shown, err := test.transform([]byte(message)); err != nil || string(shown) != message {
					t.Errorf("%s: %q became %q, %v", name, message, shown, err)
				}
			}
		}
	}
}

func TestContainerStatusWithoutASpecifiedName(t *testing.T) {
	n := newNode(t)
	const own = hub + "/library/nginx:1.25"
	n.push(own)
	status := func(image string) string {
		create := &runtime.CreateContainerResponse{}
		config := &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: image}}
		if err := n.call(t.Context(), "RuntimeService", "CreateContainer", &runtime.CreateContainerRequest{Config: config}, create); err != nil {
			t.Fatal(err)
		}
		response := &runtime.ContainerStatusResponse{}
		if err := n.call(t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: create.ContainerId}, response); err != nil {
			t.Fatal(err)
		}
		return response.Status.Image.Image + " " + imagename.Repository(response.Status.ImageRef)
	}
	n.mustPull("nginx:1.25")
	if got, want := status("nginx:1.25"), "docker.io/library/nginx:1.25 docker.io/library/nginx"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// The same image comes from the original while the registry is down.
	n.registry.down = true
	n.runtime.remote["docker.io/library/nginx:1.25"] = n.runtime.remote[own]
	n.mustPull("nginx:1.25")
	if got := status("nginx:1.25"); strings.Contains(got, hub) {
		t.Errorf("after a pull of the original: %s", got)
	}
	// The name moves to another image, and the old image has no name left.
	old := n.status("nginx:1.25").Id
	n.push("docker.io/library/nginx:1.25")
	n.mustPull("nginx:1.25")
	if got := status(old); strings.Contains(got, hub) {
		t.Errorf("an image that has lost its name: %s", got)
	}
	// A client that pulls the registry's name sees it.
	n = newNode(t)
	n.push(own)
	n.mustPull(own)
	n.mustPull("nginx:1.25")
	if got := status(own); got != own+" "+hub+"/library/nginx" {
		t.Errorf("asked for by its own name: %s", got)
	}
}

// A status without a hidden reference is not decoded, because kubelet requests many statuses.
func TestContainerStatusIsDecodedOnlyIfItMustBe(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	n.mustPull("nginx:1.25")
	allocations := func(image string) float64 {
		response := &runtime.ContainerStatusResponse{Status: &runtime.ContainerStatus{Image: &runtime.ImageSpec{Image: image}, Labels: map[string]string{}}}
		for i := range 100 {
			response.Status.Labels[strings.Repeat("x", i)] = "label"
		}
		answer, err := proto.Marshal(response)
		if err != nil {
			t.Fatal(err)
		}
		handle := n.rewriter.Unary()["/runtime.v1.RuntimeService/ContainerStatus"]
		return testing.AllocsPerRun(10, func() {
			if _, err := handle(t.Context(), nil, func(context.Context, string, []byte) ([]byte, error) { return answer, nil }); err != nil {
				t.Error(err)
			}
		})
	}
	if without, with := allocations("quay.io/app:1"), allocations(hub+"/library/nginx:1.25"); without > with/10 {
		t.Errorf("%v allocations without a hidden reference, %v with one", without, with)
	}
}

func TestAskedNamesAreBoundedInDecisions(t *testing.T) {
	n := newNode(t)
	n.remove("not a name\n" + strings.Repeat("x", 1<<20))
	if d := n.decisions[0]; len(d.Asked) > nameLimit || strings.Contains(d.Asked, "\n") {
		t.Errorf("%d bytes: %.50q", len(d.Asked), d.Asked)
	}
}

func TestCredentialsAreNeverPrinted(t *testing.T) {
	c := Answer{Credentials: Credentials{Username: "admin", Password: "canary", IdentityToken: "canary", RegistryToken: "canary", ServerAddress: "http://" + hub}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if printed := strings.ToLower(strings.Join([]string{sprintf(format, c), sprintf(format, &c), sprintf(format, c.Credentials), sprintf(format, []Answer{c})}, " ")); strings.Contains(printed, "canary") || strings.Contains(printed, "63616e617279") {
			t.Errorf("%s prints %s", format, printed)
		}
	}
}

func sprintf(format string, value any) string { return fmt.Sprintf(format, value) }
