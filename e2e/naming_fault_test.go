package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// TestNamingAfterARuntimeRestart kills containerd in the middle of a pull. The pull fails, and
// the next pull names the image.
func TestNamingAfterARuntimeRestart(t *testing.T) {
	n := newNamingNode(t)
	digest := n.push(t, "team/app:1", smallImage(t, ""))
	g := n.holdBlobs(t)
	pulled := make(chan error, 1)
	go func() {
		_, err := n.tryPull(testContext(t), "team/app:1")
		pulled <- err
	}()
	g.awaitRequest(t)
	n.runtime.Kill()
	err := <-pulled
	g.release()
	if startErr := n.runtime.Start(testContext(t)); startErr != nil {
		t.Fatal(startErr)
	}
	if err == nil {
		t.Error("the pull succeeded without a runtime")
	}
	n.store.Reconnect()
	n.direct.Connection.ResetConnectBackoff()
	eventually(t, func() string {
		if _, err := n.tryPull(testContext(t), "team/app:1"); err != nil {
			return err.Error()
		}
		return ""
	})
	n.awaitNames(t, named("docker.io/team/app:1", digest))
}

// TestNamingAfterAKillOfTheShim pauses the shim while containerd pulls, and kills it once
// containerd has finished. The next shim must name the image.
func TestNamingAfterAKillOfTheShim(t *testing.T) {
	image := smallImage(t, "")
	for _, test := range []struct{ name, asked string }{
		{"tag", "team/app:1"},
		{"digest", "team/app@" + hash(t, image.Digest)},
		{"own name before", "team/app:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNamingNode(t)
			digest := n.push(t, "team/app:1", image)
			stored := n.own(strings.TrimPrefix(test.asked, "docker.io/"))
			want := map[string]string{"docker.io/team/app@" + digest: digest}
			if !strings.Contains(test.asked, "@") {
				want = named("docker.io/team/app:1", digest)
			}
			if test.name == "own name before" {
				older := n.push(t, "team/app:1", smallImage(t, "older"))
				n.pull(t, n.direct, n.own("team/app:1"), nil)
				want = union(want, named(n.own("team/app:1"), older))
				n.push(t, "team/app:1", image)
			}
			g := n.holdBlobs(t)
			var pull sync.WaitGroup
			pull.Go(func() { _, _ = n.tryPull(testContext(t), test.asked) }) // the kill aborts it
			g.awaitRequest(t)
			n.shim.Pause()
			g.release()
			eventually(t, func() string {
				if names := n.names(t); names[stored] != digest || names[n.own("team/app@"+digest)] != digest {
					return "containerd has not finished the pull: " + lines(names)
				}
				return ""
			})
			n.shim.Kill()
			pull.Wait()
			if err := n.shim.Start(testContext(t)); err != nil {
				t.Fatal(err)
			}
			n.awaitNames(t, want)
			n.wantStatus(t, test.asked, hash(t, image.ConfigName))
		})
	}
}

// TestNamingAfterKillsOfTheShim kills the shim when the first name of a pull appears, so that
// some names are set and others are not.
func TestNamingAfterKillsOfTheShim(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := n.push(t, "team/app:1", image)
	for round := range 6 {
		var pull sync.WaitGroup
		pull.Go(func() { _, _ = n.tryPull(testContext(t), "team/app:1") }) // the kill may abort it
		sign := []string{"docker.io/team/app:1", "docker.io/team/app@" + digest, n.own("team/app@" + digest)}[round%3]
		eventuallySoon(t, func() bool { _, ok := n.names(t)[sign]; return ok || len(n.names(t)) == 2 })
		n.shim.Kill()
		pull.Wait()
		if err := n.shim.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		n.awaitNames(t, named("docker.io/team/app:1", digest))
		n.through.Connection.ResetConnectBackoff()
		eventually(t, func() string {
			if err := n.tryRemove(testContext(t), "team/app:1"); err != nil {
				return err.Error()
			}
			return ""
		})
		n.awaitNames(t, nil)
	}
}

// TestNamingOfALedger creates a ledger with `names: ledger`. The next shim must convert it to
// names in the runtime when it starts.
func TestNamingOfALedger(t *testing.T) {
	n := newNamingNodeOn(t, needContainerd(t), "names: ledger\n")
	image, other, removed := smallImage(t, ""), smallImage(t, "other"), smallImage(t, "removed")
	digest := n.push(t, "team/app:1", image)
	n.push(t, "team/same:1", image)
	otherDigest := n.push(t, "team/other:1", other)
	n.push(t, "team/removed:1", removed)
	for _, asked := range []string{"team/app:1", "quay.io/team/app:1", "team/same:1", "team/other@" + otherDigest, "team/removed:1"} {
		n.pull(t, n.through, asked, nil)
	}
	n.pull(t, n.direct, n.own("team/other:1"), nil) // by the registry's own name
	if names := n.names(t); names[n.own("team/app:1")] == "" {
		t.Fatalf("mode ledger has added names to images:\n%s", lines(names))
	}
	n.remove(t, n.direct, n.own("team/removed:1"))
	if err := n.shim.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.shim.Configure("address: " + n.hub.Address() + "\ndebug: true\nnames: auto\n" + engine()); err != nil {
		t.Fatal(err)
	}
	if err := n.shim.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	n.awaitNames(t, union(
		named("docker.io/team/app:1", digest), named("quay.io/team/app:1", digest), named("docker.io/team/same:1", digest),
		map[string]string{"docker.io/team/other@" + otherDigest: otherDigest}, named(n.own("team/other:1"), otherDigest),
	))
	eventually(t, func() string {
		traces, err := n.shim.Outputs(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range traces {
			if strings.HasSuffix(file, ".json") && strings.Contains(string(content), "team/") {
				return fmt.Sprintf("%s still contains %s", file, content)
			}
		}
		return ""
	})
}

// TestNodeWithoutItsShim removes the shim after a pull. containerd must run the image by the
// name in the pod's manifest while the registry is down.
func TestNodeWithoutItsShim(t *testing.T) {
	n := newNamingNode(t)
	image := mustImage(t, "left behind")
	n.push(t, "team/app:1", image)
	id := n.pull(t, n.through, "team/app:1", nil)
	pod, err := testbed.RunPod(testContext(t), n.direct, "left-behind", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pod.Remove(testContext(t)); err != nil {
			t.Error(err)
		}
	})
	if err := n.shim.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.hub.RefuseConnections(); err != nil {
		t.Fatal(err)
	}
	// The calls that kubelet makes for imagePullPolicy: Never.
	if got := n.status(t, n.direct, "team/app:1").GetId(); got != id {
		t.Fatalf("containerd has %q as team/app:1, want %s", got, id)
	}
	for name, asked := range map[string]string{"by-name": "docker.io/team/app:1", "by-id": id} {
		container, err := pod.Run(testContext(t), name, asked)
		if err != nil {
			t.Fatal(err)
		}
		stdout, _, err := n.direct.Runtime.ExecSync(testContext(t), container, []string{"cat", testbed.VariantFile}, 10*time.Second)
		if err != nil || string(stdout) != "left behind\n" {
			t.Errorf("exec printed %q, %v", stdout, err)
		}
	}
}

// TestSandboxImageByAnotherName pulls the sandbox image under its name in manifests, while
// containerd is configured with the registry's name. Pods must start with the registry down.
func TestSandboxImageByAnotherName(t *testing.T) {
	needContainerd(t)
	n := &namingNode{hub: startFaultyRegistry(t, testbed.Healthy)}
	n.push(t, "pause:3.9", mustImage(t, "pause of the registry"))
	containerd, err := testbed.StartContainerd(testContext(t), testbed.RuntimeOptions{
		Folder: filepath.Join(shortTempDir(t), "containerd"), SandboxImage: n.own("pause:3.9"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(containerd.Stop)
	n.start(t, containerd, "")
	id := n.pull(t, n.through, "registry.k8s.io/pause:3.9", nil)
	if err := n.hub.RefuseConnections(); err != nil {
		t.Fatal(err)
	}
	for number := range 2 {
		pod, err := testbed.RunPod(testContext(t), n.through, fmt.Sprintf("sandbox-%d", number), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := pod.Remove(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	for _, asked := range []string{"registry.k8s.io/pause:3.9", n.own("pause:3.9"), id} {
		if got := n.status(t, n.through, asked).GetId(); got != id {
			t.Errorf("status of %s: got %q, want %s", asked, got, id)
		}
	}
}
