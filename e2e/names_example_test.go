package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestNamesExample runs the example of docs/names.md: nginx:1.25, served by the private
// registry, as seen by kubelet, by crictl at the runtime's socket and by ctr, with the shim
// and after its removal.
func TestNamesExample(t *testing.T) {
	needContainerd(t)
	if _, err := exec.LookPath("ctr"); err != nil {
		t.Skip(err)
	}
	const tag, repository = "docker.io/library/nginx:1.25", "docker.io/library/nginx"
	digest := "@" + shared.digest(t, shared.private, "library/nginx:1.25")
	theirs := shared.private.Host() + "/library/nginx"
	asked, registrys := []string{tag, repository + digest}, []string{theirs + ":1.25", theirs + digest}
	for _, test := range []struct {
		name, configuration string
		others              []string // names that the runtime's other clients see
		remains             bool     // without the shim, the image is found by its name
	}{
		{"in the runtime", "", asked, true},
		{"in the ledger", namesInLedger, registrys, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t, shared.containerd, privateConfiguration()+test.configuration)
			if image := n.status(t, n.through, "nginx:1.25"); image != nil {
				t.Fatalf("the image exists before the pull: %v", image)
			}
			id := n.pull(t, n.through, "nginx:1.25", nil)
			wantNames(t, "kubelet's ImageStatus", namesOf(n.status(t, n.through, "nginx:1.25")), asked)
			wantNames(t, "kubelet's list", n.namesListed(t, n.through, id), asked)
			wantNames(t, "the runtime's list", n.namesListed(t, n.direct, id), test.others)
			wantNames(t, "ctr", n.ctrNames(t), append(slices.Clone(test.others), id))

			container := n.runDirectly(t, id)
			status, err := n.through.Runtime.ContainerStatus(testContext(t), container, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := status.Status; got.Image.Image != tag || got.ImageRef != repository+digest {
				t.Errorf("the pod's status shows %s, %s", got.Image.Image, got.ImageRef)
			}

			if err := n.shim.Stop(); err != nil {
				t.Fatal(err)
			}
			if image := n.status(t, n.direct, "nginx:1.25"); (image != nil) != test.remains {
				t.Errorf("without the shim the runtime has %v", image)
			}
		})
	}
}

// runDirectly runs a container without the shim, which may have ended.
func (n *node) runDirectly(t *testing.T, image string) (container string) {
	t.Helper()
	pod, err := testbed.RunPod(testContext(t), n.direct, strings.ReplaceAll(t.Name(), "/", "-"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pod.Remove(testContext(t)); err != nil {
			t.Error(err)
		}
	})
	if container, err = pod.Run(testContext(t), "web", image, "sh", "-c", "exec sleep 3600"); err != nil {
		t.Fatal(err)
	}
	return container
}

// namesListed returns the names of an image in a client's list.
func (n *node) namesListed(t *testing.T, client *testbed.Client, id string) []string {
	t.Helper()
	for _, image := range n.list(t, client) {
		if image.Id == id {
			return namesOf(image)
		}
	}
	return nil
}

// ctrNames returns the names in `ctr images ls`, except those of the sandbox image.
func (n *node) ctrNames(t *testing.T) []string {
	t.Helper()
	printed, err := exec.CommandContext(testContext(t), "ctr", "--address", n.runtime.Socket(), "--namespace", "k8s.io", "images", "ls", "-q").Output()
	if err != nil {
		t.Fatal(err)
	}
	pause := n.status(t, n.direct, sandboxImage)
	return slices.DeleteFunc(strings.Fields(string(printed)), func(name string) bool {
		return name == pause.GetId() || slices.Contains(namesOf(pause), name)
	})
}

func namesOf(image *runtimeapi.Image) []string {
	return slices.Concat(image.GetRepoTags(), image.GetRepoDigests())
}

func wantNames(t *testing.T, where string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", where, got, want)
	}
}
