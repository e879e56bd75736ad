package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"image-cri-shim/e2e/testbed"
)

// pullsVariable is the environment variable with the number of pulls that
// TestNamesThatOthersSee measures.
const pullsVariable = "NAMES_PULLS"

// TestNamesThatOthersSee pulls an image repeatedly while one client lists the names in
// containerd's own API and another lists images through the shim. The registry's names must
// be gone from containerd when a pull is answered, and the shim's client must never see
// them. The test logs how long containerd's client sees them; docs/names.md has the figures.
func TestNamesThatOthersSee(t *testing.T) {
	needContainerd(t)
	pulls := 5
	if text := os.Getenv(pullsVariable); text != "" {
		var err error
		if pulls, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		images []string
		fresh  bool // the images are removed before each pull
	}{
		{"one image", []string{"nginx:1.25"}, true},
		{"an image that is present", []string{"nginx:1.25"}, false},
		{"two tags of a repository at once", []string{"nginx:1.25", "nginx"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t, shared.containerd, privateConfiguration())
			stored := shared.private.Host() + "/library/nginx"
			var others, answers []time.Duration
			for range pulls {
				if test.fresh {
					n.removeImages(t)
				}
				watch := n.watchNames(t, stored)
				begun := time.Now()
				var pulling sync.WaitGroup
				for _, image := range test.images {
					pulling.Go(func() { n.pull(t, n.through, image, nil) })
				}
				pulling.Wait()
				answered := time.Since(begun)
				if records := recordsOf(t, n.direct); bytes.Contains(records, []byte(stored)) {
					t.Errorf("containerd has names of the registry after the pull: %q", records)
				}
				others, answers = append(others, watch.stop(t)), append(answers, answered)
			}
			t.Logf("containerd's client saw the registry's names for %s; pulls took %s", spread(others), spread(answers))
		})
	}
}

// spread formats the minimum, median and maximum of durations.
func spread(durations []time.Duration) string {
	slices.Sort(durations)
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("%v to %v, half of the %d within %v", round(durations[0]), round(durations[len(durations)-1]), len(durations), round(durations[len(durations)/2]))
}

// recordsOf returns the encoded list of containerd's image records.
func recordsOf(t *testing.T, client *testbed.Client) []byte {
	t.Helper()
	records, err := listRecords(testContext(t), client.Connection)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func listRecords(ctx context.Context, connection *grpc.ClientConn) ([]byte, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "k8s.io")
	records := &emptypb.Empty{} // keeps unknown fields
	err := connection.Invoke(ctx, "/containerd.services.images.v1.Images/List", &emptypb.Empty{}, records)
	return records.ProtoReflect().GetUnknown(), err
}

// nameWatch is two clients that list names every few milliseconds.
type nameWatch struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	others  time.Duration // how long containerd's client has seen the names
	since   time.Time     // start of the current sighting; zero if the names are not visible
	shown   []string      // names that the shim's client has seen
}

// watchInterval is the pause between two lists, and so the precision of the figures.
const watchInterval = 2 * time.Millisecond

// watchNames watches for names that contain a text, in containerd's own API and through the
// shim. It returns once both clients have received their first list.
func (n *node) watchNames(t *testing.T, text string) *nameWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	w := &nameWatch{cancel: cancel}
	var ready sync.WaitGroup
	ready.Add(2)
	w.poll(ctx, t, &ready, func() error {
		records, err := listRecords(ctx, n.direct.Connection)
		if err != nil {
			return err
		}
		switch now, there := time.Now(), bytes.Contains(records, []byte(text)); {
		case there && w.since.IsZero():
			w.since = now
		case !there && !w.since.IsZero():
			w.others += now.Sub(w.since)
			w.since = time.Time{}
		}
		return nil
	})
	w.poll(ctx, t, &ready, func() error {
		images, err := n.through.Images.ListImages(ctx, nil)
		for _, image := range images {
			for _, name := range slices.Concat(image.RepoTags, image.RepoDigests) {
				if strings.Contains(name, text) {
					w.shown = append(w.shown, name)
				}
			}
		}
		return err
	})
	ready.Wait()
	return w
}

// poll calls list until ctx is done. It marks ready after the first call.
func (w *nameWatch) poll(ctx context.Context, t *testing.T, ready *sync.WaitGroup, list func() error) {
	w.running.Go(func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for listed := false; ctx.Err() == nil; listed = true {
			if err := list(); err != nil && ctx.Err() == nil {
				t.Errorf("a watching client failed: %v", err)
			}
			if !listed {
				ready.Done()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
}

// stop ends the watch and returns how long containerd's client saw the names.
func (w *nameWatch) stop(t *testing.T) time.Duration {
	t.Helper()
	w.cancel()
	w.running.Wait()
	if !w.since.IsZero() {
		w.others += time.Since(w.since)
	}
	if len(w.shown) > 0 {
		t.Errorf("the shim's client saw %q", w.shown)
	}
	return w.others
}
