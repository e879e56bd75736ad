package rewrite

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/imagename"
)

// TestNamingAtRandom makes random pulls, removals and moves of tags, while calls of the namer
// fail and the shim restarts. At the end, containerd must have the same names as after direct
// pulls of the originals.
func TestNamingAtRandom(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, n *namingNode) {
				w := &randomWalk{namingNode: n, random: rand.New(rand.NewPCG(uint64(seed), 12)), names: make(map[string]content)}
				w.walk()
				if t.Failed() {
					t.Logf("steps:\n\t%s", strings.Join(w.steps, "\n\t"))
				}
			})
		})
	}
}

type randomWalk struct {
	*namingNode
	random *rand.Rand
	steps  []string

	mutex sync.Mutex
	names map[string]content // names that direct pulls would have created, including IDs
}

var walkTags = []string{"library/nginx:1.25", "library/nginx:2", "team/app:1"}

func (w *randomWalk) walk() {
	if w.random.IntN(4) == 0 {
		w.restartIn(w.t.TempDir())
	}
	w.runtime.older = w.random.IntN(2) == 0
	for _, tag := range walkTags {
		w.move(tag)
	}
	for range 5 + w.random.IntN(10) {
		w.disturb()
		w.step()
	}
	w.set(nil)
	w.settled()
	want := make(map[string]bool)
	for name, image := range w.names {
		want[shortDigest(name)+" "+image.digest[7:13]] = true
	}
	if got := w.runtime.stored(); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		w.t.Errorf("containerd has\n\t%s\nwant\n\t%s\nwarnings %q", strings.Join(got, "\n\t"), strings.Join(slices.Sorted(maps.Keys(want)), "\n\t"), w.warned())
	}
}

func (w *randomWalk) note(format string, arguments ...any) {
	w.steps = append(w.steps, time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).String()+" "+fmt.Sprintf(format, arguments...))
}

// move moves a tag to another image in the registry.
func (w *randomWalk) move(tag string) {
	seed := fmt.Sprint("image ", w.random.IntN(4))
	w.note("%s is %s", tag, seed)
	w.pushAs(newContent(seed), hub+"/"+tag)
}

// disturb makes some of the next calls of the namer fail.
func (w *randomWalk) disturb() {
	failing := make(map[int]codes.Code)
	for range w.random.IntN(3) {
		failing[1+w.random.IntN(25)] = []codes.Code{codes.Unavailable, codes.Internal, codes.DeadlineExceeded}[w.random.IntN(3)]
	}
	if w.random.IntN(2) == 0 {
		failing = nil
	}
	executed := w.random.IntN(2) == 0
	w.note("fails %v, executed %v", failing, executed)
	w.set(func(_ context.Context, number int, _ string, invoke func() ([]byte, error)) ([]byte, error) {
		if code, fails := failing[number]; fails {
			if executed {
				_, _ = invoke()
			}
			return nil, status.Error(code, "out of order")
		}
		return invoke()
	})
}

func (w *randomWalk) step() {
	tag := walkTags[w.random.IntN(len(walkTags))]
	switch w.random.IntN(8) {
	case 0:
		w.move(tag)
	case 1:
		w.note("wait")
		time.Sleep(time.Minute)
	case 2:
		w.note("restart")
		if w.directory != "" {
			w.restartIn(w.directory)
		}
	case 3:
		w.settled() // an image under repair may have other names than a client sees
		name := "docker.io/" + tag
		_, pulled := w.names[name]
		if _, own := w.names[hub+"/"+tag]; own || !pulled {
			return // RemoveImage also removes the image under the candidate's name
		}
		w.note("remove %s", name)
		w.remove(name)
		w.removed(name)
	case 4:
		other := walkTags[w.random.IntN(len(walkTags))]
		w.note("pull docker.io/%s and quay.io/%s at once", tag, other)
		w.together(func() { w.retry("docker.io/" + tag) }, func() { w.retry("quay.io/" + other) })
	case 5:
		w.note("pull %s/%s", hub, tag)
		w.retry(hub + "/" + tag)
	default:
		w.note("pull docker.io/%s", tag)
		w.retry("docker.io/" + tag)
	}
}

// retry repeats a pull until the runtime is available.
func (w *randomWalk) retry(name string) {
	for range 5 {
		_, err := w.pull(name)
		if err == nil {
			_, rest, _ := strings.Cut(name, "/")
			image, _ := w.runtime.content(hub + "/" + rest)
			w.mutex.Lock()
			defer w.mutex.Unlock()
			w.names[name], w.names[imagename.Repository(name)+"@"+image.digest], w.names[image.id] = image, image, image
			return
		}
		time.Sleep(time.Second)
	}
	w.t.Errorf("%s can't be pulled", name)
}

// removed drops all names of an image.
func (w *randomWalk) removed(name string) {
	id := w.names[name].id
	maps.DeleteFunc(w.names, func(_ string, image content) bool { return image.id == id })
}
