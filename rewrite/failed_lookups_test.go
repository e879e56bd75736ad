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
	"image-cri-shim/rewrite/ledger"
)

// failing returns an [Invoke] of the runtime that answers ImageStatus for some
// references with an error.
func (m *memoryRuntime) failing(failure error, references ...string) intercept.Invoke {
	return func(ctx context.Context, method string, request []byte) ([]byte, error) {
		decoded := &runtime.ImageStatusRequest{}
		if strings.HasSuffix(method, "/ImageStatus") && proto.Unmarshal(request, decoded) == nil && slices.Contains(references, decoded.GetImage().GetImage()) {
			return nil, failure
		}
		return m.invoke(ctx, method, request)
	}
}

// ask makes a call with one image name, in one version of the CRI. shown is the image in the
// answer to ImageStatus, in the forwarded filter of a list, or in the forwarded request for a
// container.
func (n *node) ask(version, method, image string, invoke intercept.Invoke) (shown string, err error) {
	n.t.Helper()
	spec := &runtime.ImageSpec{Image: image}
	filter := &runtime.ImageFilter{Image: spec}
	requests := map[string]proto.Message{
		"ImageStatus":     &runtime.ImageStatusRequest{Image: spec},
		"RemoveImage":     &runtime.RemoveImageRequest{Image: spec},
		"ListImages":      &runtime.ListImagesRequest{Filter: filter},
		"StreamImages":    &runtime.StreamImagesRequest{Filter: filter},
		"CreateContainer": &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{Image: spec}},
	}
	encoded, err := proto.Marshal(requests[method])
	if err != nil {
		n.t.Fatal(err)
	}
	service := "ImageService"
	if method == "CreateContainer" {
		service = "RuntimeService"
	}
	full := "/" + version + "." + service + "/" + method
	if method == "StreamImages" {
		forward, _, err := n.rewriter.Stream()[full](n.t.Context(), encoded, invoke)
		request := &runtime.StreamImagesRequest{}
		if err == nil && proto.Unmarshal(forward, request) != nil {
			n.t.Fatal("the forwarded request can't be decoded")
		}
		return request.GetFilter().GetImage().GetImage(), err
	}
	forwarded := func(ctx context.Context, called string, request []byte) ([]byte, error) {
		list, create := &runtime.ListImagesRequest{}, &runtime.CreateContainerRequest{}
		switch {
		case called == full && method == "ListImages" && proto.Unmarshal(request, list) == nil:
			shown = list.GetFilter().GetImage().GetImage()
		case called == full && method == "CreateContainer" && proto.Unmarshal(request, create) == nil:
			shown = create.GetConfig().GetImage().GetImage()
		}
		return invoke(ctx, called, request)
	}
	raw, err := n.rewriter.Unary()[full](n.t.Context(), encoded, forwarded)
	if method == "ImageStatus" {
		response := &runtime.ImageStatusResponse{}
		if proto.Unmarshal(raw, response) != nil {
			n.t.Fatal("the answer can't be decoded")
		}
		shown = response.GetImage().GetId()
	}
	return shown, err
}

const (
	askedName  = "nginx:1.25"
	storedName = hub + "/library/nginx:1.25"
)

// failedCase is a node with a runtime that fails to answer for some references.
type failedCase struct {
	name    string
	prepare func(n *node) (image string, fails []string)
	// want returns the expected code of the call, and whether the image is found or removed,
	// if the lookups fail with code. It is not called for codes that end a call.
	want func(method string, code codes.Code) (codes.Code, bool)
}

// pulledFromHub pulls the name through the shim, and otherTag pulls the registry's name from the
// runtime directly.
func pulledFromHub(n *node) string {
	n.push(storedName)
	return n.mustPull(askedName)
}

func pulledDirectly(n *node, reference string) string {
	n.push(reference)
	id, err := client{t: n.t, runtime: n.runtime}.pull(reference, &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd"})
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

func isList(method string) bool { return method == "ListImages" || method == "StreamImages" }

// absent returns the expected result of each method for an image that does not exist.
func absent(method string) (codes.Code, bool) {
	if method == "CreateContainer" {
		return codes.NotFound, false // from the runtime
	}
	return codes.OK, false
}

func failedCases() []failedCase {
	return []failedCase{
		{
			"the name, and there is nothing else",
			func(*node) (string, []string) { return "", []string{askedName} },
			func(method string, code codes.Code) (codes.Code, bool) {
				switch {
				case method == "RemoveImage": // the runtime itself removes nothing
					return codes.OK, false
				case code == codes.NotFound && isList(method):
					return codes.OK, false
				}
				return code, false
			},
		},
		{
			"the name, and it is on the node",
			func(n *node) (string, []string) {
				return pulledDirectly(n, "docker.io/library/nginx:1.25"), []string{askedName}
			},
			func(method string, code codes.Code) (codes.Code, bool) {
				switch {
				case method == "RemoveImage":
					return codes.OK, true
				case code == codes.NotFound && method == "CreateContainer":
					return codes.OK, true // found by its name
				case code == codes.NotFound && isList(method):
					return codes.OK, false
				}
				return code, false
			},
		},
		{
			"the name, and the ledger has it",
			func(n *node) (string, []string) { return pulledFromHub(n), []string{askedName} },
			func(method string, code codes.Code) (codes.Code, bool) {
				switch code {
				case codes.Unknown, codes.InvalidArgument, codes.NotFound: // CRI-O refuses short names
					return codes.OK, true
				}
				if method == "RemoveImage" {
					return codes.OK, true
				}
				return code, false
			},
		},
		{
			"the ledger's ID",
			func(n *node) (string, []string) {
				id := pulledFromHub(n)
				return id, []string{id}
			},
			func(_ string, code codes.Code) (codes.Code, bool) {
				return codes.OK, true // found by the reference that it was pulled by
			},
		},
		{
			"the ledger's ID and reference",
			func(n *node) (string, []string) {
				id := pulledFromHub(n)
				return id, []string{id, storedName}
			},
			func(method string, code codes.Code) (codes.Code, bool) {
				if code == codes.InvalidArgument || code == codes.NotFound {
					return absent(method)
				}
				return code, false
			},
		},
		{
			"the ledger's ID, which another runtime gave",
			func(n *node) (string, []string) {
				id := pulledFromHub(n)
				client{t: n.t, runtime: n.runtime}.remove(id)
				return "", []string{id}
			},
			func(method string, _ codes.Code) (codes.Code, bool) { return absent(method) },
		},
		{
			"a registry's reference",
			func(n *node) (string, []string) { return pulledDirectly(n, storedName), []string{storedName} },
			func(method string, code codes.Code) (codes.Code, bool) {
				if code == codes.InvalidArgument || code == codes.NotFound || method == "ImageStatus" || isList(method) {
					return absent(method)
				}
				return code, false
			},
		},
		{
			"a registry's reference, and the name is on the node",
			func(n *node) (string, []string) {
				return pulledDirectly(n, "docker.io/library/nginx:1.25"), []string{storedName}
			},
			func(string, codes.Code) (codes.Code, bool) { return codes.OK, true },
		},
	}
}

// TestUnansweredQuestions returns each code for each lookup of each method. An error must never
// be treated as an absent image.
func TestUnansweredQuestions(t *testing.T) {
	for _, version := range cri.Versions {
		for _, test := range failedCases() {
			for _, method := range []string{"ImageStatus", "ListImages", "StreamImages", "CreateContainer", "RemoveImage"} {
				for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
					t.Run(fmt.Sprintf("%s/%s/%s/%s", version, test.name, method, code), func(t *testing.T) {
						test.check(t, version, method, code)
					})
				}
			}
		}
	}
}

func (test failedCase) check(t *testing.T, version, method string, code codes.Code) {
	n := newNode(t)
	ledger, err := ledger.Read("") // writes nothing to disk, which would be slow here
	if err != nil {
		t.Fatal(err)
	}
	n.ledger, n.rewriter.ledger = ledger, ledger
	n.runtime.crio = isList(method) // containerd ignores the filter
	image, fails := test.prepare(n)
	failure := status.Error(code, "injected")
	n.decisions = nil
	entry, known := n.ledger.Lookup("docker.io/library/nginx:1.25")

	shown, err := n.ask(version, method, askedName, n.runtime.failing(failure, fails...))

	want, found := codes.OK, false
	switch {
	case cri.EndsCall(failure) && test.isAsked():
		want = code
	default:
		want, found = test.want(method, code)
	}
	if status.Code(err) != want || want == code && code != codes.NotFound && !errors.Is(err, failure) {
		t.Errorf("got %v, want the code %v", err, want)
	}
	switch {
	case method == "RemoveImage":
		if left := (client{t: t, runtime: n.runtime}).status(image); image != "" && (left == nil) != found {
			t.Errorf("removed: %v, want %v", left == nil, found)
		}
	case found && shown != image && shown != askedName, !found && image != "" && shown == image:
		t.Errorf("shown %q, image %q, want found %v", shown, image, found)
	}
	if after, ok := n.ledger.Lookup("docker.io/library/nginx:1.25"); known && code != codes.NotFound && method != "RemoveImage" && (!ok || after != entry) {
		t.Errorf("the ledger has lost %+v", entry)
	}
	if len(n.decisions) != 1 {
		t.Fatalf("decisions %+v, want one", n.decisions)
	}
	if d := n.decisions[0]; test.isAsked() && code != codes.NotFound && !errors.Is(d.Err, failure) && (!errors.Is(d.Failed, failure) || !strings.Contains(d.Reason, code.String()+": injected")) {
		t.Errorf("the decision %+v lacks the error", d)
	}
}

// isAsked reports whether the runtime is asked for the failing reference. A registry's reference
// is asked for only if the runtime does not have the name itself.
func (test failedCase) isAsked() bool {
	return !strings.HasSuffix(test.name, "the name is on the node")
}

// A removal succeeds even if the runtime then fails to answer for the image. The ledger keeps
// its records until the runtime answers.
func TestUnansweredQuestionAfterARemoval(t *testing.T) {
	n := newNode(t)
	id := pulledFromHub(n)
	removed := false
	invoke := func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if removed {
			return n.runtime.failing(status.Error(codes.ResourceExhausted, "injected"), id)(ctx, method, request)
		}
		removed = strings.HasSuffix(method, "/RemoveImage")
		return n.runtime.invoke(ctx, method, request)
	}
	n.decisions = nil
	if _, err := n.ask("runtime.v1", "RemoveImage", askedName, invoke); err != nil {
		t.Fatal(err)
	}
	if d := n.decisions[0]; status.Code(d.Failed) != codes.ResourceExhausted || d.Outcome != OutcomeRemoved {
		t.Errorf("decision %+v", d)
	}
	if _, ok := n.ledger.Lookup("docker.io/library/nginx:1.25"); !ok {
		t.Error("the ledger has lost the name")
	}
	if image := n.status(askedName); image != nil || n.ledger.MayRestore() {
		t.Errorf("then found %s", names(image))
	}
}

// The image under a hidden name belongs to another name, and is not removed if the runtime fails
// to answer for it.
func TestHiddenNamesAreNotRemovedUnseen(t *testing.T) {
	n := newNode(t)
	id := pulledFromHub(n)
	failure := status.Error(codes.Unknown, "injected")
	if _, err := n.ask("runtime.v1", "RemoveImage", storedName, n.runtime.failing(failure, storedName)); !errors.Is(err, failure) {
		t.Errorf("got %v, want the runtime's error", err)
	}
	if image := n.status(askedName); image.GetId() != id {
		t.Error("the image was removed")
	}
}

// kubelet removes images by ID. The client gets the runtime's answer to the removal.
func TestRemoveByIDIsForwardedUnseen(t *testing.T) {
	n := newNode(t)
	id := pulledFromHub(n)
	if _, err := n.ask("runtime.v1", "RemoveImage", id, n.runtime.failing(status.Error(codes.Unknown, "injected"), id)); err != nil {
		t.Fatal(err)
	}
	if image := n.status(askedName); image != nil {
		t.Errorf("the image still exists: %s", names(image))
	}
}

// An answer keeps the registry's name if the runtime fails to answer for the image.
func TestUnansweredQuestionWhileRestoring(t *testing.T) {
	n := newNode(t)
	id := pulledFromHub(n)
	known, _ := n.ledger.Lookup("docker.io/library/nginx:1.25")
	if err := n.ledger.Apply(ledger.RemoveMoved(known)); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	n.rewriter.warn = func(err error) { warnings = append(warnings, err.Error()) }
	encoded, err := proto.Marshal(&runtime.ContainerStatusResponse{Status: &runtime.ContainerStatus{Image: &runtime.ImageSpec{Image: storedName}}})
	if err != nil {
		t.Fatal(err)
	}
	const method = "/runtime.v1.RuntimeService/ContainerStatus"
	raw, err := n.rewriter.Unary()[method](t.Context(), nil, func(ctx context.Context, called string, request []byte) ([]byte, error) {
		if called == method {
			return encoded, nil
		}
		return n.runtime.failing(status.Error(codes.Internal, "injected"), id)(ctx, called, request)
	})
	if err != nil || !slices.Equal(raw, encoded) {
		t.Errorf("got %q, %v, want the unchanged answer", raw, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "injected") {
		t.Errorf("warnings %q", warnings)
	}
}
