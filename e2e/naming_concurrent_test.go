package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestNamingWhileListing lists images without pause while they are pulled repeatedly. Every
// list must contain all images with their names.
func TestNamingWhileListing(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	n.push(t, "team/app:1", image)
	n.push(t, "team/app:2", image)
	id := hash(t, image.ConfigName)
	n.pull(t, n.through, "team/app:1", nil)
	ctx, cancel := context.WithCancel(testContext(t))
	var observer sync.WaitGroup
	lists := 0
	observer.Go(func() {
		for ; ctx.Err() == nil; lists++ {
			images := n.list(t, n.through)
			i := slices.IndexFunc(images, func(image *runtimeapi.Image) bool { return image.Id == id })
			if i < 0 || len(images[i].RepoTags) == 0 || len(images[i].RepoDigests) == 0 {
				t.Errorf("a list contains %v", images)
				return
			}
			if n.status(t, n.through, "team/app:1").GetId() != id {
				t.Error("the image is not found by its name")
				return
			}
		}
	})
	for range 30 {
		n.pull(t, n.through, "team/app:2", nil)
		n.pull(t, n.through, "team/app:1", nil)
	}
	cancel()
	observer.Wait()
	t.Logf("%d lists", lists)
}

// TestRemovalsDuringPulls removes an image by name and by ID while it is pulled. After each
// round the image must either be complete or not exist. Without the shim, containerd fails
// one of 60 such pulls and leaves only the image's digest in 35 of them.
func TestRemovalsDuringPulls(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := n.push(t, "team/app:1", image)
	id := hash(t, image.ConfigName)
	whole := named("docker.io/team/app:1", digest)
	outcomes := make(map[string]int)
	for round := range 60 {
		removed := []string{"team/app:1", id}[round%2]
		var calls errgroup.Group
		pulled := make(chan struct{})
		calls.Go(func() error {
			defer close(pulled)
			if _, err := n.tryPull(testContext(t), "team/app:1"); err != nil {
				outcomes["the pull failed"]++
			}
			return nil
		})
		calls.Go(func() error {
			once := round%4 > 1
			for once && len(n.names(t)) == 0 { // the pull has not stored anything yet
			}
			for {
				if err := n.tryRemove(testContext(t), removed); err != nil || once {
					return err
				}
				select {
				case <-pulled:
					return nil
				default:
				}
			}
		})
		if err := calls.Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			names, seen := n.names(t), n.status(t, n.direct, id)
			switch {
			case len(names) == 0 && seen == nil:
				outcomes["gone"]++
				return ""
			case lines(names) == lines(whole) && len(seen.GetRepoTags()) == 1 && len(seen.GetRepoDigests()) == 1:
				outcomes["there"]++
				return ""
			}
			return fmt.Sprintf("incomplete image after round %d: containerd has\n%sCRI shows %v", round, lines(names), seen)
		})
		n.remove(t, n.through, id)
	}
	t.Log(outcomes)
}

// TestCreationsDuringPulls creates containers by an image's ID while the image is pulled
// repeatedly, as kubelet does for imagePullPolicy Always.
func TestCreationsDuringPulls(t *testing.T) {
	n := newNamingNode(t)
	n.push(t, "team/app:1", mustImage(t, "creations"))
	id := n.pull(t, n.through, "team/app:1", nil)
	pod := n.startPod(t)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var pulls errgroup.Group
	for range 2 {
		pulls.Go(func() error {
			for ctx.Err() == nil {
				if _, err := n.tryPull(ctx, "team/app:1"); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	for number := range 100 {
		request := pod.CreateRequest(fmt.Sprintf("container-%d", number), id, "sleep", "1")
		container, err := n.through.Runtime.CreateContainer(testContext(t), request.PodSandboxId, request.Config, request.SandboxConfig)
		if err != nil {
			t.Fatalf("container %d: %v", number, err)
		}
		if err := n.through.Runtime.RemoveContainer(testContext(t), container); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := pulls.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Compare(hostOf(n.hub), "docker.io") > 0 {
		t.Error("the registry's name must sort before the original's, or the test proves nothing")
	}
}
