package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

func TestPullFromTheRegistryThatHasIt(t *testing.T) {
	for _, version := range cri.Versions {
		for _, asked := range []string{"nginx:1.25", "library/nginx:1.25", "docker.io/library/nginx:1.25"} {
			t.Run(version+" "+asked, func(t *testing.T) {
				n := newNode(t)
				n.version = version
				n.push(hub + "/library/nginx:1.25")
				id := n.mustPull(asked)
				if want := n.runtime.remote[hub+"/library/nginx:1.25"].id; id != want {
					t.Errorf("image_ref %s, want %s", id, want)
				}
				if image := n.status(asked); image.GetId() != id {
					t.Errorf("status straight after has ID %q, want %s", image.GetId(), id)
				}
				want := fmt.Sprintf("%.6s [docker.io/library/nginx:1.25] [docker.io/library/nginx@%.6s]",
					strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(n.runtime.remote[hub+"/library/nginx:1.25"].digest, "sha256:"))
				for _, by := range []string{asked, "nginx:1.25", id, strings.TrimPrefix(id, "sha256:")[:12]} {
					if got := names(n.status(by)); got != want {
						t.Errorf("by %s: %s, want %s", by, got, want)
					}
				}
				if got := allNames(n.list("")); !slices.Equal(got, []string{want}) {
					t.Errorf("list: %v, want %s", got, want)
				}
				d := n.decisions[0]
				if d.Method != "PullImage" || d.Asked != asked || d.Served != hub+"/library/nginx:1.25" || d.Registry != "http://"+hub || d.Reason == "" {
					t.Errorf("decision %+v", d)
				}
			})
		}
	}
}

func TestPullReplacesTheCallersCredentials(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	own := &runtime.AuthConfig{Username: "tenant", Password: "canary-tenant"}
	if _, err := n.pull("nginx:1.25", own); err != nil {
		t.Fatal(err)
	}
	for _, encoded := range n.runtime.requests {
		if strings.Contains(string(encoded), "canary-tenant") {
			t.Error("the caller's credentials were sent to the private registry")
		}
	}
}

func TestPullWithoutCredentialsSendsNone(t *testing.T) {
	n := newNode(t)
	delete(n.runtime.logins, hub)
	n.registry.credentials = Credentials{}
	n.push(hub + "/library/nginx:1.25")
	if _, err := n.pull("nginx:1.25", &runtime.AuthConfig{Username: "tenant"}); err != nil {
		t.Fatal(err)
	}
	for _, encoded := range n.runtime.requests {
		request := &runtime.PullImageRequest{}
		if proto.Unmarshal(encoded, request) == nil && request.Auth != nil {
			t.Errorf("auth of user %q was sent", request.Auth.Username)
		}
	}
}

func TestPullFallsBackToTheOriginalRequest(t *testing.T) {
	unknown := protowire.AppendTag(nil, 9999, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "a field of tomorrow")
	encoded, err := proto.Marshal(&runtime.PullImageRequest{
		Image: &runtime.ImageSpec{Image: "nginx:1.25", Annotations: map[string]string{"a": "b"}},
		Auth:  &runtime.AuthConfig{Username: "tenant", Password: "canary-tenant"},
	})
	if err != nil {
		t.Fatal(err)
	}
	encoded = append(encoded, unknown...)
	for name, registry := range map[string]func(*memoryRegistry){
		"absent":      func(*memoryRegistry) {},
		"down":        func(r *memoryRegistry) { r.down = true },
		"lies":        func(r *memoryRegistry) { r.lies = true },
		"wrong login": func(r *memoryRegistry) { r.lies = true; r.credentials.Password = "wrong" },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			registry(n.registry)
			n.push("docker.io/library/nginx:1.25")
			n.runtime.logins["docker.io"] = &runtime.AuthConfig{Username: "tenant", Password: "canary-tenant"}
			if _, err := n.raw(t.Context(), "ImageService", "PullImage", encoded); err != nil {
				t.Fatal(err)
			}
			if last := n.runtime.lastRequest(); !slices.Equal(last, encoded) {
				t.Errorf("the original was asked with\n%q, want byte for byte\n%q", last, encoded)
			}
			if got := names(n.status("nginx:1.25")); !strings.Contains(got, "[docker.io/library/nginx:1.25]") {
				t.Errorf("status: %s", got)
			}
		})
	}
}

func TestPullKeepsUnknownFieldsWhenRewriting(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	unknown := protowire.AppendTag(nil, 9999, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "a field of tomorrow")
	encoded, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{
		Image: "nginx:1.25", UserSpecifiedImage: "nginx:1.25", RuntimeHandler: "kata", Annotations: map[string]string{"a": "b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.raw(t.Context(), "ImageService", "PullImage", append(encoded, unknown...)); err != nil {
		t.Fatal(err)
	}
	for _, sent := range n.runtime.requests {
		request := &runtime.PullImageRequest{}
		if err := proto.Unmarshal(sent, request); err != nil || request.Auth == nil {
			continue
		}
		if string(request.ProtoReflect().GetUnknown()) != string(unknown) {
			t.Error("the unknown field is lost")
		}
		spec := request.Image
		if spec.Image != hub+"/library/nginx:1.25" || spec.UserSpecifiedImage != "nginx:1.25" || spec.RuntimeHandler != "kata" || spec.Annotations["a"] != "b" {
			t.Errorf("sent %v", spec)
		}
		return
	}
	t.Error("no rewritten pull was sent")
}

func TestPullErrorIsTheRuntimesWithTheAttempts(t *testing.T) {
	n := newNode(t)
	n.registry.lies = true
	failure, err := status.New(codes.ResourceExhausted, "RegistryUnavailable: quota").WithDetails(&errdetails.ErrorInfo{Reason: "canary"})
	if err != nil {
		t.Fatal(err)
	}
	handle := n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"]
	encoded, _ := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	_, err = handle(t.Context(), encoded, func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if slices.Equal(request, encoded) {
			return nil, failure.Err()
		}
		return n.runtime.invoke(ctx, method, request) // not found on the hub
	})
	got := status.Convert(err)
	if got.Code() != codes.ResourceExhausted || !strings.HasPrefix(got.Message(), "RegistryUnavailable: quota; ") {
		t.Errorf("%v: %s", got.Code(), got.Message())
	}
	if !strings.Contains(got.Message(), "http://"+hub+" (pull failed: ") || strings.Contains(got.Message(), "canary:passw0rd") {
		t.Errorf("message: %s", got.Message())
	}
	if len(got.Details()) != 1 {
		t.Errorf("details: %v", got.Details())
	}
}

func TestPullOfWhatIsNoNameIsForwarded(t *testing.T) {
	for _, image := range []string{strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 64), "", "No/Name", "a b"} {
		n := newNode(t)
		n.registry.lies = true
		encoded, _ := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}})
		_, err := n.raw(t.Context(), "ImageService", "PullImage", encoded)
		if err == nil || strings.Contains(err.Error(), "image-cri-shim") {
			t.Errorf("%q: error %v, want the runtime's own", image, err)
		}
		if !slices.Equal(n.runtime.lastRequest(), encoded) || len(n.runtime.requests) != 1 {
			t.Errorf("%q: %d requests were sent, the last %q", image, len(n.runtime.requests), n.runtime.lastRequest())
		}
	}
}

func TestPullOfWhatIsNoNameWithoutFallback(t *testing.T) {
	id := strings.Repeat("0", 64)
	for _, test := range []struct {
		never, image string
		forwarded    bool
	}{
		{"", "sha256:" + id, false},
		{"", id, false},
		{"", "No/Name", false},
		{"docker.io/library/sha256", "sha256:" + id, false}, // containerd would pull this from docker.io
		{"docker.io/library/sha256", "sha256:1234", false},
		{"docker.io/library/sha512", "sha512:" + id + id, false},
		{"docker.io/library/sha256", id, true},
		{"docker.io/library/sha256", "No/Name", true},
		{"docker.io/library/nginx", "sha256:" + id, true},
	} {
		n := newNode(t)
		n.rewriter.lookup = memoryLookup{runtime: n.runtime, never: []string{test.never}}
		_, err := n.pull(test.image, nil)
		if refused := status.Code(err) == codes.InvalidArgument; refused == test.forwarded || len(n.runtime.seen()) > 0 != test.forwarded {
			t.Errorf("never %q: %s: error %v", test.never, test.image, err)
		}
	}
}

// If no other attempt can follow, only the caller's deadline limits the pull.
func TestPullTimeoutAndDeadline(t *testing.T) {
	hang := func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	encoded, _ := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	for _, timeout := range []time.Duration{0, time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t)
			n.rewriter.timeout = timeout
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begun := time.Now()
			_, err := n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"](ctx, encoded, hang)
			if took := time.Since(begun); status.Code(err) != codes.DeadlineExceeded || took != time.Minute {
				t.Errorf("after the caller's deadline, with the timeout %v: got %v after %v", timeout, err, took)
			}
		})
	}
}

// A registry that answers lookups and then hangs leaves time for the original, and the Lookup
// receives the failure.
func TestPullLeavesAHangingRegistry(t *testing.T) {
	n := newNode(t)
	n.push(hub+"/library/nginx:1.25", "docker.io/library/nginx:1.25")
	n.rewriter.timeout = 500 * time.Millisecond
	hanging := func(ctx context.Context, method string, request []byte) ([]byte, error) {
		decoded := &runtime.PullImageRequest{}
		if strings.HasSuffix(method, "/PullImage") && proto.Unmarshal(request, decoded) == nil && imagename.Host(decoded.Image.Image) == hub {
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		return n.runtime.invoke(ctx, method, request)
	}
	encoded, _ := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	raw, err := n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"](t.Context(), encoded, hanging)
	if err != nil {
		t.Fatal(err)
	}
	response := &runtime.PullImageResponse{}
	if want := n.runtime.remote["docker.io/library/nginx:1.25"].id; proto.Unmarshal(raw, response) != nil || response.ImageRef != want {
		t.Errorf("pulled %s, want the original %s", response.ImageRef, want)
	}
	if !slices.Equal(n.outcomes, []string{"stalled " + hub + "/library/nginx:1.25"}) {
		t.Errorf("the Lookup received %q", n.outcomes)
	}
}

// However a pull ends for its client, the registry's name does not count as a name that a client
// has asked for.
func TestPullWhoseEndNobodyLearns(t *testing.T) {
	const stored = hub + "/library/nginx:1.25"
	expect := func(t *testing.T, n *node) {
		t.Helper()
		n.mustPull("nginx:1.25")
		if image := n.status("nginx:1.25"); !slices.Equal(image.GetRepoTags(), []string{"docker.io/library/nginx:1.25"}) || strings.Contains(names(image), hub) {
			t.Errorf("status: %s", names(image))
		}
	}
	t.Run("the client leaves as the runtime finishes", func(t *testing.T) {
		n := newNode(t)
		n.push(stored)
		ctx, cancel := context.WithCancel(t.Context())
		if err := n.duringPull(ctx, func(ctx context.Context) error {
			cancel()
			return status.FromContextError(ctx.Err()).Err()
		}); status.Code(err) != codes.Canceled {
			t.Fatal(err)
		}
		if got := allNames(n.list("")); strings.Contains(got[0], hub) {
			t.Errorf("list: %q", got)
		}
		expect(t, n)
	})
	t.Run("the client leaves just after", func(t *testing.T) {
		n := newNode(t)
		n.push(stored)
		ctx, cancel := context.WithCancel(t.Context())
		if err := n.duringPull(ctx, func(context.Context) error { cancel(); return nil }); err != nil {
			t.Fatal(err)
		}
		if image := n.status("nginx:1.25"); image == nil {
			t.Error("the name was not recorded")
		}
		expect(t, n)
	})
	t.Run("two at a time", func(t *testing.T) {
		n := newNode(t)
		n.push(stored)
		// The second one is recorded before the first.
		if err := n.duringPull(t.Context(), func(context.Context) error { n.mustPull("nginx:1.25"); return nil }); err != nil {
			t.Fatal(err)
		}
		expect(t, n)
	})
	t.Run("a pull that fails announces nothing", func(t *testing.T) {
		n := newNode(t)
		n.push("docker.io/library/nginx:1.25")
		n.registry.lies = true
		n.mustPull("nginx:1.25")
		n.push(stored)
		if _, err := (client{t: t, runtime: n.runtime}).pull(stored, &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"}); err != nil {
			t.Fatal(err)
		}
		if image := n.status(stored); !slices.Equal(image.GetRepoTags(), []string{stored}) {
			t.Errorf("pulled without the shim: %s", names(image))
		}
	})
}

// duringPull runs do during a pull of nginx:1.25, just before the runtime answers the rewritten
// PullImage with the error that do returns.
func (n *node) duringPull(ctx context.Context, do func(context.Context) error) error {
	n.t.Helper()
	encoded, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"](ctx, encoded, func(ctx context.Context, method string, request []byte) ([]byte, error) {
		response, err := n.runtime.invoke(ctx, method, request)
		decoded := &runtime.PullImageRequest{}
		if strings.HasSuffix(method, "/PullImage") && proto.Unmarshal(request, decoded) == nil && imagename.Host(decoded.Image.Image) == hub {
			if failure := do(ctx); failure != nil {
				return nil, failure
			}
		}
		return response, err
	})
	return err
}

// During the pull of an image that is on the node already, and after the pull was interrupted,
// other clients see the same names as before.
func TestOthersDuringAPull(t *testing.T) {
	const own = hub + "/library/nginx:1.25"
	ownLogin := &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"}
	t.Run("a container's status", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		n.mustPull("nginx:1.25")
		create := &runtime.CreateContainerResponse{}
		config := &runtime.ContainerConfig{Image: &runtime.ImageSpec{Image: "nginx:1.25"}}
		if err := n.call(t.Context(), "RuntimeService", "CreateContainer", &runtime.CreateContainerRequest{Config: config}, create); err != nil {
			t.Fatal(err)
		}
		expect := func() {
			t.Helper()
			response := &runtime.ContainerStatusResponse{}
			if err := n.call(t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: create.ContainerId}, response); err != nil {
				t.Fatal(err)
			}
			if shown := response.Status.Image.Image + response.Status.ImageRef; strings.Contains(shown, hub) {
				t.Errorf("the status shows %s", shown)
			}
		}
		if err := n.duringPull(t.Context(), func(context.Context) error { expect(); return nil }); err != nil {
			t.Fatal(err)
		}
		_ = n.duringPull(t.Context(), func(context.Context) error { return status.Error(codes.Canceled, "cut off") })
		expect()
	})
	t.Run("the registry's own name is pulled", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		if err := n.duringPull(t.Context(), func(context.Context) error { _, err := n.pull(own, ownLogin); return err }); err != nil {
			t.Fatal(err)
		}
		if n.status(own) == nil || n.status("nginx:1.25") == nil {
			t.Errorf("own %s, nginx %s", names(n.status(own)), names(n.status("nginx:1.25")))
		}
	})
	t.Run("one of two pulls fails", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		if err := n.duringPull(t.Context(), func(context.Context) error {
			n.mustPull("nginx:1.25") // this pull succeeds, then the first one fails
			return status.Error(codes.Unknown, "unpack failed")
		}); err == nil {
			t.Fatal("no error")
		}
		if image := n.status("nginx:1.25"); !slices.Equal(image.GetRepoTags(), []string{"docker.io/library/nginx:1.25"}) {
			t.Errorf("status: %s", names(image))
		}
	})
	t.Run("after a cut pull the registry's name is loaded", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		_ = n.duringPull(t.Context(), func(context.Context) error {
			for id := range n.runtime.ids { // as if the pull had stored nothing
				client{t: t, runtime: n.runtime}.remove(id)
			}
			return status.Error(codes.Canceled, "cut off")
		})
		if _, err := (client{t: t, runtime: n.runtime}).pull(own, ownLogin); err != nil {
			t.Fatal(err)
		}
		if n.status(own) == nil || n.status("nginx:1.25") == nil {
			t.Errorf("own %s, nginx %s", names(n.status(own)), names(n.status("nginx:1.25")))
		}
	})
	t.Run("the registry's tag moves on", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		pulled := n.runtime.remote[own].id
		if err := n.duringPull(t.Context(), func(context.Context) error {
			n.runtime.remote[own] = newContent("newer")
			_, err := (client{t: t, runtime: n.runtime}).pull(own, ownLogin)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if image := n.status("nginx:1.25"); image.GetId() != pulled {
			t.Errorf("status has %s, want the image of the pull's answer, %s", names(image), pulled)
		}
	})
}

// An image with both names is found by each of them as long as it has this name.
func TestImageUnderBothNames(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	n.runtime.remote["docker.io/library/nginx:1.25"] = n.runtime.remote[hub+"/library/nginx:1.25"]
	direct := client{t: t, runtime: n.runtime}
	direct.mustPull("docker.io/library/nginx:1.25")
	id := n.mustPull("nginx:1.25")
	// ctr removes a name, not an image.
	for name := range n.runtime.names {
		if imagename.Host(name) == hub {
			delete(n.runtime.names, name)
		}
	}
	if image := n.status("nginx:1.25"); image.GetId() != id || len(image.GetRepoTags()) != 1 {
		t.Errorf("status: %s", names(image))
	}
}

func TestPullLeavesTimeToASlowRegistry(t *testing.T) {
	for _, total := range []time.Duration{time.Hour, time.Minute, time.Second} {
		if reserve := total - attemptShare(total); reserve <= 0 || reserve > time.Minute || reserve > total/5 {
			t.Errorf("an attempt leaves %v of %v", reserve, total)
		}
	}
}

func TestPullByDigest(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	digest := n.runtime.remote[hub+"/library/nginx:1.25"].digest
	for _, asked := range []string{"nginx@" + digest, "nginx:1.25@" + digest, "nginx:no-such-tag@" + digest} {
		id := n.mustPull(asked)
		image := n.status(asked)
		if image.GetId() != id || !slices.Equal(image.GetRepoDigests(), []string{"docker.io/library/nginx@" + digest}) || len(image.GetRepoTags()) != 0 {
			t.Errorf("%s: %s", asked, names(image))
		}
	}
	for _, call := range n.runtime.seen() {
		if strings.HasPrefix(call, "PullImage") && !strings.HasSuffix(call, "@"+digest) {
			t.Errorf("%s: the digest is lost", call)
		}
	}
}

func TestPullOfTheRegistrysOwnName(t *testing.T) {
	const own = hub + "/library/nginx:1.25"
	for name, auth := range map[string]*runtime.AuthConfig{
		"with the registry's credentials": nil,
		"with the caller's credentials":   {Username: "admin", Password: "canary:passw0rd"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.push(own)
			if _, err := n.pull(own, auth); err != nil {
				t.Fatal(err)
			}
			digest := n.runtime.remote[own].digest
			if image := n.status(own); !slices.Equal(image.GetRepoTags(), []string{own}) {
				t.Errorf("status: %s", names(image))
			}
			// The image gets another name and keeps its own.
			n.mustPull("nginx:1.25")
			for _, asked := range []string{own, "nginx:1.25"} {
				image := n.status(asked)
				slices.Sort(image.RepoTags)
				slices.Sort(image.RepoDigests)
				if !slices.Equal(image.RepoTags, []string{"docker.io/library/nginx:1.25", own}) ||
					!slices.Equal(image.RepoDigests, []string{"docker.io/library/nginx@" + digest, hub + "/library/nginx@" + digest}) {
					t.Errorf("%s: %s", asked, names(image))
				}
			}
		})
	}
	t.Run("after another name", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		n.mustPull("nginx:1.25")
		if _, err := n.pull(own, &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"}); err != nil {
			t.Fatal(err)
		}
		if got := names(n.status("nginx:1.25")); strings.Count(got, hub) != 2 || strings.Count(got, "docker.io") != 2 {
			t.Errorf("status: %s", got)
		}
	})
	t.Run("wrong credentials of the caller are not replaced", func(t *testing.T) {
		n := newNode(t)
		n.push(own)
		if _, err := n.pull(own, &runtime.AuthConfig{Username: "admin", Password: "wrong"}); err == nil {
			t.Error("the pull succeeds")
		}
	})
}

func TestPullThatEndsAtTheOriginalMovesTheName(t *testing.T) {
	n := newNode(t)
	n.push(hub+"/library/nginx:1.25", "docker.io/library/nginx:1.25") // not the same image
	old := n.mustPull("nginx:1.25")
	n.registry.down = true
	current := n.mustPull("nginx:1.25")
	if old == current {
		t.Fatal("the same image twice")
	}
	if image := n.status("nginx:1.25"); image.GetId() != current {
		t.Errorf("status has %s, want the image pulled last", names(image))
	}
	if image := n.status(old); len(image.GetRepoTags()) != 0 || strings.Contains(names(image), hub) {
		t.Errorf("the old image still has the names %s", names(image))
	}
	// The registry's image is pulled again, and the name moves back to it.
	n.registry.down = false
	n.mustPull("nginx:1.25")
	if image := n.status("nginx:1.25"); image.GetId() != old {
		t.Errorf("status has %s, want the registry's image", names(image))
	}
	if image := n.status(current); len(image.GetRepoTags()) != 0 {
		t.Errorf("the original's image still has the names %s", names(image))
	}
	for _, image := range n.list("") {
		if image.Id == current && len(image.RepoTags) != 0 || strings.Contains(names(image), hub) {
			t.Errorf("list has %s", names(image))
		}
	}
}

func TestOriginalsThatShareAReference(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/pause:3.9")
	n.mustPull("registry.k8s.io/pause:3.9")
	n.mustPull("k8s.gcr.io/pause:3.9")
	want := []string{"k8s.gcr.io/pause:3.9", "registry.k8s.io/pause:3.9"}
	image := n.status("k8s.gcr.io/pause:3.9")
	slices.Sort(image.RepoTags)
	if !slices.Equal(image.RepoTags, want) || len(image.RepoDigests) != 2 {
		t.Errorf("status: %s", names(image))
	}
}

func TestMalformedMessagesAreForwarded(t *testing.T) {
	malformed := []byte{0x0a, 0xff, 0xff, 0x01}
	for method, handle := range newNode(t).rewriter.Unary() {
		var sent []byte
		answer := []byte{0xff, 0x00}
		got, err := handle(t.Context(), malformed, func(_ context.Context, asked string, request []byte) ([]byte, error) {
			if asked != method {
				t.Errorf("%s calls %s", method, asked)
			}
			sent = request
			return answer, nil
		})
		if err != nil || !slices.Equal(got, answer) || !slices.Equal(sent, malformed) {
			t.Errorf("%s: sent %x, answered %x (%v)", method, sent, got, err)
		}
	}
}
