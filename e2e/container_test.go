package e2e

import (
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// startPod runs a pod through the shim and removes it at the test's end.
func (n *node) startPod(t *testing.T) *testbed.Pod {
	t.Helper()
	pod, err := testbed.RunPod(testContext(t), n.through, strings.ReplaceAll(t.Name(), "/", "-"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pod.Remove(testContext(t)); err != nil {
			t.Error(err)
		}
	})
	return pod
}

func TestContainer(t *testing.T) {
	runtime := needContainerd(t)
	id := shared.id(t, shared.private, "library/nginx:1.25")
	const variant = "nginx 1.25 of the private registry"
	for _, test := range []struct{ name, image string }{
		{"by short name", "nginx:1.25"},
		{"by full name", "docker.io/library/nginx:1.25"},
		{"by ID", id},
		{"by digest", "nginx@" + shared.digest(t, shared.private, "library/nginx:1.25")},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t, runtime, privateConfiguration())
			n.pull(t, n.through, "nginx:1.25", nil)
			pod := n.startPod(t)
			container, err := pod.Run(testContext(t), "web", test.image, "sh", "-c", "cat "+testbed.VariantFile+"; exec sleep 3600")
			if err != nil {
				t.Fatal(err)
			}
			stdout, _, err := n.through.Runtime.ExecSync(testContext(t), container, []string{"cat", testbed.VariantFile}, 10*time.Second)
			if err != nil || string(stdout) != variant+"\n" {
				t.Errorf("exec printed %q, %v, want %q", stdout, err, variant)
			}
			eventually(t, func() string {
				printed, err := pod.Log("web")
				if err != nil || printed != variant+"\n" {
					return "the container's log is " + printed
				}
				return ""
			})
			response, err := n.through.Runtime.ContainerStatus(testContext(t), container, false)
			if err != nil {
				t.Fatal(err)
			}
			state := response.GetStatus()
			if got, want := state.GetImage().GetImage(), "docker.io/library/nginx:1.25"; got != want {
				t.Errorf("the status shows image %s, want %s", got, want)
			}
			if got, want := state.GetImageRef(), "docker.io/library/nginx@"+shared.digest(t, shared.private, "library/nginx:1.25"); got != want {
				t.Errorf("the status shows image reference %s, want %s", got, want)
			}
			if state.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
				t.Errorf("the container is %v", state.GetState())
			}
		})
	}
}

func TestContainerOfAbsentImage(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	pod := n.startPod(t)
	_, err := pod.Run(testContext(t), "web", "nginx:1.25")
	if err == nil || !strings.Contains(err.Error(), "nginx:1.25") || !strings.Contains(err.Error(), "not found") {
		t.Errorf("got %v, want containerd's error that nginx:1.25 is not found", err)
	}
}

// TestListedContainers compares the values that kubelet's image garbage collection reads:
// an image is in use if its ID is a container's image_ref.
func TestListedContainers(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	id := n.pull(t, n.through, "nginx:1.25", nil)
	pod := n.startPod(t)
	container, err := pod.Run(testContext(t), "web", "nginx:1.25")
	if err != nil {
		t.Fatal(err)
	}
	containers, err := n.through.Runtime.ListContainers(testContext(t), &runtimeapi.ContainerFilter{Id: container})
	if err != nil || len(containers) != 1 {
		t.Fatalf("got %v, %v, want one container", containers, err)
	}
	if containers[0].GetImageRef() != id {
		t.Errorf("the container's image_ref is %s, want %s", containers[0].GetImageRef(), id)
	}
}
