package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// shortTempDir returns a folder for sockets. The path of t.TempDir contains the test's name,
// which can make a socket's path too long.
func shortTempDir(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "shim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// TestOwnNamesStay pulls an image by the registry's own name before, during or after a pull of
// the original's name. The own name must stay.
func TestOwnNamesStay(t *testing.T) {
	for _, side := range []string{"through the shim", "directly"} {
		t.Run(side, func(t *testing.T) {
			n := newNamingNode(t)
			client := n.through
			if side == "directly" {
				client = n.direct
			}
			image := smallImage(t, "")
			digest := n.push(t, "team/app:1", image)
			n.push(t, "team/app:2", image)
			id := hash(t, image.ConfigName)
			original, own := named("docker.io/team/app:1", digest), named(n.own("team/app:1"), digest)
			for _, test := range []struct {
				name string
				pull func(t *testing.T)
			}{
				{"before", func(t *testing.T) {
					n.pull(t, client, n.own("team/app:1"), nil)
					n.pull(t, n.through, "team/app:1", nil)
				}},
				{"after", func(t *testing.T) {
					n.pull(t, n.through, "team/app:1", nil)
					n.pull(t, client, n.own("team/app:1"), nil)
				}},
				{"during", func(t *testing.T) {
					g := n.holdBlobs(t)
					var pull errgroup.Group
					pull.Go(func() error {
						_, err := n.tryPull(testContext(t), "team/app:1")
						return err
					})
					g.awaitRequest(t)
					pull.Go(func() error {
						_, err := client.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: n.own("team/app:1")}, nil, nil)
						return err
					})
					awaitRunningPull(t, n)
					g.release()
					if err := pull.Wait(); err != nil {
						t.Fatal(err)
					}
				}},
			} {
				if test.name == "during" && side == "directly" {
					continue // containerd doesn't show which of two concurrent pulls a name is from
				}
				t.Run(test.name, func(t *testing.T) {
					test.pull(t)
					n.awaitNames(t, union(original, own))
					for range 2 { // further pulls of the repository must change nothing
						n.pull(t, n.through, "team/app:1", nil)
						n.awaitNames(t, union(original, own))
					}
					n.wantSeen(t, "team/app:1", id, union(original, own))
					n.remove(t, n.through, id)
					n.awaitNames(t, nil)
				})
			}
		})
	}
}

// awaitRunningPull waits until the shim has forwarded the second of two pulls.
func awaitRunningPull(t *testing.T, n *namingNode) {
	t.Helper()
	own := n.own("team/app:1")
	eventually(t, func() string {
		if got := strings.Count(containerdLog(t, n), "PullImage \\\""+own); got < 2 {
			return "the second pull has not reached containerd"
		}
		return ""
	})
}

func containerdLog(t *testing.T, n *namingNode) string {
	t.Helper()
	log, err := os.ReadFile(n.runtime.(*testbed.Containerd).Log())
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// TestOwnNameOfAnotherImageStays uses a registry's own name that refers to an older image. A
// pull of the original's name, which goes through the own name, must not move it.
func TestOwnNameOfAnotherImageStays(t *testing.T) {
	n := newNamingNode(t)
	older, newer := smallImage(t, "older"), smallImage(t, "newer")
	before := n.push(t, "team/app:1", older)
	n.pull(t, n.through, n.own("team/app:1"), nil)
	after := n.push(t, "team/app:1", newer)
	n.pull(t, n.through, "team/app:1", nil)
	n.awaitNames(t, union(named(n.own("team/app:1"), before), named("docker.io/team/app:1", after)))
	n.wantSeen(t, n.own("team/app:1"), hash(t, older.ConfigName), named(n.own("team/app:1"), before))
}

// TestImageVolume mounts an image from the private registry as a volume, by its original name
// and by its ID.
func TestImageVolume(t *testing.T) {
	n := newNamingNode(t)
	version, err := n.direct.Runtime.Version(testContext(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(version.RuntimeVersion, "1.") || strings.HasPrefix(version.RuntimeVersion, "v1.") {
		t.Skipf("containerd %s has no image volumes", version.RuntimeVersion)
	}
	n.push(t, "team/app:1", mustImage(t, "container"))
	n.push(t, "team/data:1", mustImage(t, "volume"))
	n.pull(t, n.through, "team/app:1", nil)
	id := n.pull(t, n.through, "team/data:1", nil)
	pod := n.startPod(t)
	for name, asked := range map[string]string{"by-name": "docker.io/team/data:1", "by-short-name": "team/data:1", "by-id": id} {
		request := pod.CreateRequest(name, "team/app:1", "sleep", "3600")
		request.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/volume", Readonly: true, Image: &runtimeapi.ImageSpec{Image: asked}}}
		container, err := n.through.Runtime.CreateContainer(testContext(t), request.PodSandboxId, request.Config, request.SandboxConfig)
		if err == nil {
			err = n.through.Runtime.StartContainer(testContext(t), container)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		stdout, _, err := n.through.Runtime.ExecSync(testContext(t), container, []string{"cat", "/volume" + testbed.VariantFile}, 10*time.Second)
		if err != nil || string(stdout) != "volume\n" {
			t.Errorf("%s: exec printed %q, %v", name, stdout, err)
		}
	}
}
