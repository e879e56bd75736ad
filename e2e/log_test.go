package e2e

import (
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// podOf returns the sandbox configuration of a pod, with secrets in the fields that may have
// some.
func podOf(namespace, name string) *runtimeapi.PodSandboxConfig {
	secret := newSecret("sandbox")
	return &runtimeapi.PodSandboxConfig{
		Metadata:    &runtimeapi.PodSandboxMetadata{Namespace: namespace, Name: name},
		Annotations: map[string]string{"example.com/token": secret},
		Labels:      map[string]string{"token": secret},
	}
}

// TestLogOfPullNamesPod requires that the line of a pull names the pod, that a failed pull is an
// error with the private registry's cause, and that nothing else of the pod is logged.
func TestLogOfPullNamesPod(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		for _, test := range []struct {
			asked string
			want  testbed.Decision
		}{
			{"nginx:1.25", testbed.Decision{Level: "info", Namespace: "prod", Pod: "web-0"}},
			{"nowhere:1", testbed.Decision{Level: "error", Namespace: "prod", Pod: "db-0", Tried: shared.private.Address() + " (absent)"}},
			{"Not//A name", testbed.Decision{Level: "error", Namespace: "prod", Pod: "db-1"}},
		} {
			pod := podOf(test.want.Namespace, test.want.Pod)
			_, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: test.asked}, callerLogin, pod)
			if failed := test.want.Level == "error"; (err != nil) != failed {
				t.Errorf("pull of %s: %v", test.asked, err)
			}
			got := n.decision(t, test.asked)
			if got.Level != test.want.Level || got.Namespace != test.want.Namespace || got.Pod != test.want.Pod || got.Tried != test.want.Tried {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if test.want.Tried != "" && strings.Contains(got.Reason, test.want.Tried) {
				t.Errorf("the line repeats the registries: %+v", got)
			}
		}
	})
}
