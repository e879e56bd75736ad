package rewrite

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestDecisionOfPullNamesPod requires that the decision of a pull names the pod of the request, whatever
// the result, in both versions of the CRI, and holds nothing else of the sandbox.
func TestDecisionOfPullNamesPod(t *testing.T) {
	const secret = "canary:annotation"
	sandbox := &runtime.PodSandboxConfig{
		Metadata:    &runtime.PodSandboxMetadata{Name: "web-0", Namespace: "prod", Uid: secret},
		Annotations: map[string]string{secret: secret},
		Labels:      map[string]string{secret: secret},
	}
	for _, test := range []struct {
		name, image, never string
		sandbox            *runtime.PodSandboxConfig
		pod                string
	}{
		{"pulled", "nginx:1.25", "", sandbox, "prod/web-0"},
		{"failed", "absent:1", "", sandbox, "prod/web-0"},
		{"refused", "nginx:1.26", "docker.io/library/nginx", sandbox, "prod/web-0"},
		{"refused, no name", "A:b:c", "", sandbox, "prod/web-0"},
		{"no pod", "nginx:1.25", "", nil, "/"},
		{"no metadata", "nginx:1.25", "", &runtime.PodSandboxConfig{Annotations: sandbox.Annotations}, "/"},
		{"line breaks", "nginx:1.25", "", &runtime.PodSandboxConfig{Metadata: &runtime.PodSandboxMetadata{Name: "a\nb", Namespace: strings.Repeat("é", 200)}}, strings.Repeat("é", 148) + ".../a b"},
	} {
		for _, version := range []string{"runtime.v1", "runtime.v1alpha2"} {
			t.Run(test.name+"/"+version, func(t *testing.T) {
				n := newNode(t)
				forbid(n, test.never)
				n.push(hub + "/library/nginx:1.25")
				request, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: test.image}, SandboxConfig: test.sandbox})
				if err != nil {
					t.Fatal(err)
				}
				_, _ = n.rewriter.Unary()["/"+version+".ImageService/PullImage"](t.Context(), request, n.runtime.invoke)
				if len(n.decisions) != 1 {
					t.Fatalf("%d decisions", len(n.decisions))
				}
				if d := n.decisions[0]; d.Namespace+"/"+d.Pod != test.pod || d.Method != "PullImage" || d.Asked != test.image {
					t.Errorf("pod %s/%s of %s %s, want %s", d.Namespace, d.Pod, d.Method, d.Asked, test.pod)
				}
				if text := fmt.Sprintf("%+v", n.decisions[0]); strings.Contains(text, "canary") {
					t.Errorf("decision %s", text)
				}
			})
		}
	}
}

// TestDecisionHasWholeName requires that a decision has the longest names that are valid. The
// debug page offers to resolve and copy them; a name without the end of its tag is valid, too.
func TestDecisionHasWholeName(t *testing.T) {
	image := strings.Repeat("h", 63) + ":5000/" + strings.Repeat("n", 255) + ":" + strings.Repeat("t", 128) + "@sha256:" + strings.Repeat("a", 64)
	for method, request := range map[string]proto.Message{
		"PullImage":   &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}},
		"ImageStatus": &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}},
		"RemoveImage": &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: image}},
	} {
		n := newNode(t)
		encoded, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = n.rewriter.Unary()["/runtime.v1.ImageService/"+method](t.Context(), encoded, n.runtime.invoke)
		if len(n.decisions) == 0 || n.decisions[len(n.decisions)-1].Asked != image {
			t.Errorf("%s: %+v", method, n.decisions)
		}
	}
}
