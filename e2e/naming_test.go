package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sync/errgroup"

	"image-cri-shim/e2e/testbed"
)

// forArchitecture returns the image with another architecture in its configuration.
func forArchitecture(t *testing.T, image v1.Image, architecture string) v1.Image {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Architecture = architecture
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestNaming pulls by each form of a name. containerd must then have only the requested names.
func TestNaming(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := n.push(t, "team/app:1", image)
	index := indexOf(image, forArchitecture(t, image, "s390x"))
	indexDigest := n.push(t, "team/index:1", index)
	id := hash(t, image.ConfigName)
	for _, test := range []struct {
		name, asked string
		want        map[string]string
	}{
		{"tag", "team/app:1", named("docker.io/team/app:1", digest)},
		{"other domain", "quay.io/team/app:1", named("quay.io/team/app:1", digest)},
		{"digest", "team/app@" + digest, map[string]string{"docker.io/team/app@" + digest: digest}},
		{"tag and digest", "team/app:1@" + digest, map[string]string{"docker.io/team/app@" + digest: digest}},
		{"index", "team/index:1", named("docker.io/team/index:1", indexDigest)},
		{"index by digest", "team/index@" + indexDigest, map[string]string{"docker.io/team/index@" + indexDigest: indexDigest}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second pull finds all content
				if got := n.pull(t, n.through, test.asked, nil); got != id {
					t.Fatalf("pulled image %s, want %s", got, id)
				}
				n.wantNames(t, test.want)
				n.wantSeen(t, test.asked, id, test.want)
			}
			n.remove(t, n.through, test.asked)
			n.wantNames(t, nil)
		})
	}
}

// TestNamingKeepsContent collects garbage after a naming. It must keep all content of the
// names, and remove it once the names are removed.
func TestNamingKeepsContent(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := n.push(t, "team/app:1", image)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	blobs := []string{digest, hash(t, image.ConfigName), hash(t, layers[0].Digest)}
	n.pull(t, n.through, "team/app:1", nil)
	wantBlobs := func(wanted bool) {
		t.Helper()
		if err := n.store.CollectGarbage(testContext(t)); err != nil {
			t.Fatal(err)
		}
		all, err := n.store.Blobs(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, blob := range blobs {
			if slices.Contains(all, blob) != wanted {
				t.Errorf("containerd has the content %s: %v, want %v", blob, !wanted, wanted)
			}
		}
	}
	wantBlobs(true)
	n.wantStatus(t, "team/app:1", hash(t, image.ConfigName))
	n.remove(t, n.through, "team/app:1")
	wantBlobs(false)
}

// TestNamingOfPullsAtOnce repeatedly makes concurrent pulls: of one name, of two names of one
// target, and of four tags of one digest.
func TestNamingOfPullsAtOnce(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := ""
	for tag := range 4 {
		digest = n.push(t, fmt.Sprintf("team/app:%d", tag), image)
	}
	n.push(t, "pause:3.9", image)
	id := hash(t, image.ConfigName)
	for _, test := range []struct {
		name  string
		asked []string
	}{
		{"one name", []string{"docker.io/team/app:1", "docker.io/team/app:1"}},
		{"two names of one repository", []string{"registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9"}},
		{"four tags of one digest", []string{"docker.io/team/app:0", "docker.io/team/app:1", "docker.io/team/app:2", "docker.io/team/app:3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := make(map[string]string)
			for _, asked := range test.asked {
				want = union(want, named(asked, digest))
			}
			for range 20 {
				var pulls errgroup.Group
				for _, asked := range test.asked {
					pulls.Go(func() error {
						got, err := n.tryPull(testContext(t), asked)
						if err == nil && got != id {
							err = fmt.Errorf("pulled image %s, want %s", got, id)
						}
						if err == nil && n.status(t, n.through, asked).GetId() != id {
							err = fmt.Errorf("status of %s after its pull shows another image", asked)
						}
						return err
					})
				}
				if err := pulls.Wait(); err != nil {
					t.Fatal(err)
				}
				n.awaitNames(t, want)
				n.wantSeen(t, test.asked[0], id, want)
				n.remove(t, n.through, id)
				n.wantNames(t, nil)
			}
		})
	}
}

// TestNamingOfManyImages pulls 20 images concurrently.
func TestNamingOfManyImages(t *testing.T) {
	n := newNamingNode(t)
	want := make(map[string]string)
	var pulls errgroup.Group
	for number := range 20 {
		image := smallImage(t, fmt.Sprint(number))
		repository := fmt.Sprintf("team/app-%d:1", number)
		want = union(want, named("docker.io/"+repository, n.push(t, repository, image)))
		pulls.Go(func() error {
			got, err := n.tryPull(testContext(t), repository)
			if err != nil {
				return err
			}
			if shown := n.status(t, n.through, repository).GetId(); shown != got || got != hash(t, image.ConfigName) {
				return fmt.Errorf("pulled %s as %s, its status shows %q", repository, got, shown)
			}
			return nil
		})
	}
	if err := pulls.Wait(); err != nil {
		t.Error(err)
	}
	n.awaitNames(t, want)
}

// TestNamingOfAMovingTag moves a tag between two pulls. The older image must keep its digest.
func TestNamingOfAMovingTag(t *testing.T) {
	n := newNamingNode(t)
	older, newer := smallImage(t, "older"), smallImage(t, "newer")
	before := n.push(t, "team/app:1", older)
	n.pull(t, n.through, "team/app:1", nil)
	after := n.push(t, "team/app:1", newer)
	n.pull(t, n.through, "team/app:1", nil)
	n.wantNames(t, union(named("docker.io/team/app:1", after), map[string]string{"docker.io/team/app@" + before: before}))
	n.wantSeen(t, "team/app:1", hash(t, newer.ConfigName), named("docker.io/team/app:1", after))
	n.wantSeen(t, "team/app@"+before, hash(t, older.ConfigName), map[string]string{"docker.io/team/app@" + before: before})
}

// TestNamingOfATagThatMovesInAPull moves a tag while a pull of it waits for its layers, and
// then pulls it again. Both images must get names.
func TestNamingOfATagThatMovesInAPull(t *testing.T) {
	n := newNamingNode(t)
	older, newer := smallImage(t, "older"), smallImage(t, "newer")
	before := n.push(t, "team/app:1", older)
	g := n.holdBlobs(t)
	var pulls errgroup.Group
	pulls.Go(func() error {
		_, err := n.tryPull(testContext(t), "team/app:1")
		return err
	})
	g.awaitRequest(t)
	after := n.push(t, "team/app:1", newer)
	next := n.holdBlobs(t)
	pulls.Go(func() error {
		_, err := n.tryPull(testContext(t), "team/app:1")
		return err
	})
	next.awaitRequest(t)
	next.release() // the newer pull ends first
	eventually(t, func() string {
		if n.status(t, n.direct, "docker.io/team/app@"+after) == nil {
			return "the newer image has no name"
		}
		return ""
	})
	g.release()
	if err := pulls.Wait(); err != nil {
		t.Fatal(err)
	}
	// The pull that ends last determines the tag's image, as it does without the shim.
	n.awaitNames(t, union(named("docker.io/team/app:1", before), map[string]string{"docker.io/team/app@" + after: after}))
}

// TestNamingOfACancelledPull cancels a pull halfway and near its end. It must leave the asked
// names or none.
func TestNamingOfACancelledPull(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := n.push(t, "team/app:1", image)
	whole := named("docker.io/team/app:1", digest)
	tagAlone := map[string]string{"docker.io/team/app:1": digest}
	t.Run("halfway", func(t *testing.T) {
		g := n.holdBlobs(t)
		ctx, cancel := context.WithCancel(testContext(t))
		pulled := make(chan error, 1)
		go func() {
			_, err := n.tryPull(ctx, "team/app:1")
			pulled <- err
		}()
		g.awaitRequest(t)
		cancel()
		if err := <-pulled; err == nil {
			t.Error("the cancelled pull succeeded")
		}
		g.release()
		n.pull(t, n.through, "team/app:1", nil)
		n.awaitNames(t, whole)
		n.remove(t, n.through, "team/app:1")
	})
	t.Run("at its end", func(t *testing.T) {
		succeeded := 0
		for range 8 {
			ctx, cancel := context.WithCancel(testContext(t))
			var pull sync.WaitGroup
			var err error
			pull.Go(func() { _, err = n.tryPull(ctx, "team/app:1") })
			eventuallySoon(t, func() bool { return len(n.names(t)) > 0 }) // the registry's name or the requested name
			cancel()
			pull.Wait()
			if err == nil {
				succeeded++
			}
			eventually(t, func() string {
				got := n.names(t)
				// containerd stores a tag's digest last, and not at all if the call is cancelled before.
				if len(got) > 0 && !maps.Equal(got, whole) && !maps.Equal(got, tagAlone) {
					return fmt.Sprintf("containerd has\n%s\nafter a pull that ended with %v", lines(got), err)
				}
				return ""
			})
			n.remove(t, n.through, hash(t, image.ConfigName))
			n.awaitNames(t, nil)
		}
		t.Logf("%d of 8 pulls succeeded before they were cancelled", succeeded)
	})
}

// eventuallySoon polls without a pause, for conditions that last only milliseconds.
func eventuallySoon(t *testing.T, done func() bool) {
	t.Helper()
	ctx := testContext(t)
	for !done() {
		if ctx.Err() != nil {
			t.Fatal("the condition has not become true")
		}
	}
}

// mustImage returns an image that containers can be started from.
func mustImage(t *testing.T, variant string) v1.Image {
	t.Helper()
	image, err := testbed.Image(variant)
	if err != nil {
		t.Fatal(err)
	}
	return image
}
