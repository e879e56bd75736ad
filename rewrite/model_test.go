package rewrite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/ledger"
)

// Environment variables that repeat a run of TestModel or make it longer.
const (
	modelSeedKey  = "MODEL_SEED"
	modelStepsKey = "MODEL_STEPS"
)

const (
	modelSteps    = 10_000
	sequenceSteps = 100
)

// TestModel makes the same random calls on two nodes. One pulls its images from the hub through
// the shim. The other has no shim, and its registries serve the same images. Another client
// changes both runtimes directly. Clients must see the same on both nodes, with the rules of
// containerd and with those of CRI-O.
//
// A step does not use random numbers of other steps, so that a failing sequence can be shortened.
func TestModel(t *testing.T) {
	seed, total := number(t, modelSeedKey, 1), number(t, modelStepsKey, modelSteps)
	for _, crio := range []bool{false, true} {
		t.Run(fmt.Sprintf("crio=%v", crio), func(t *testing.T) {
			for sequence := range total / 2 / sequenceSteps {
				run := modelRun{t: t, crio: crio, seed: seed + uint64(sequence)}
				steps := make([]uint64, sequenceSteps)
				for i := range steps {
					steps[i] = uint64(i)
				}
				if _, err := run.do(steps); err != nil {
					run.report(steps)
					return
				}
			}
		})
	}
}

func number(t *testing.T, key string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(key)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// modelRun is a sequence of steps that follows from a seed.
type modelRun struct {
	t    *testing.T
	crio bool
	seed uint64
}

// do runs the steps on new nodes until the first difference.
func (r modelRun) do(steps []uint64) (log []string, err error) {
	w := newWorld(r.t, r.crio)
	defer w.close()
	for _, step := range steps {
		w.random = rand.New(rand.NewPCG(r.seed, step))
		if err = w.step(); err != nil {
			break
		}
	}
	return w.log, err
}

// report prints the shortest sequence with a difference that it finds.
func (r modelRun) report(steps []uint64) {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			shorter := slices.Delete(slices.Clone(steps), at, at+size)
			if _, err := r.do(shorter); err != nil {
				steps = shorter
			} else {
				at += size
			}
		}
	}
	log, err := r.do(steps)
	r.t.Errorf("%v\nafter\n\t%s\n%s=%d repeats this", err, strings.Join(log, "\n\t"), modelSeedKey, r.seed)
}

// world contains the two nodes.
type world struct {
	random    *rand.Rand
	node      *node
	directory string // state directory
	shim      client
	direct    client // the other client on the node with the shim
	plain     client // both clients on the node without the shim
	versions  int
	log       []string

	containers []container
	// Names that images have by the preloaded rule, with the hub's reference of the image.
	preloaded map[string]string
	had       map[ledger.ImageRef]bool // the names that images have ever had without the shim
}

// container is the same on both nodes.
type container struct{ id, image string }

// modelNames are the names that clients ask for: several tags of a repository, names of two
// registries with the same reference in the hub, a name that is not mirrored, a name that the
// hub's match fits, and names in the hub itself.
var modelNames = []string{
	"docker.io/library/nginx:1.25", "docker.io/library/nginx:latest", "docker.io/library/redis:7",
	"quay.io/library/nginx:1.25", "quay.io/only/there:1",
	"registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9",
	hub + "/library/nginx:1.25", hub + "/library/redis:7", hub + "/pause:3.9",
}

// hubs returns the hub's reference for a name, and an empty string if it has none.
func hubs(name string) string {
	_, path, ok := strings.Cut(name, "/")
	if !ok || name == "quay.io/only/there:1" {
		return ""
	}
	return hub + "/" + path
}

func newWorld(t *testing.T, crio bool) *world {
	w := &world{directory: modelDirectory(t), preloaded: make(map[string]string), had: make(map[ledger.ImageRef]bool), node: newNode(t)}
	w.node.registry.match = []string{"registry.k8s.io"}
	w.node.registry.credentials.ServerAddress = "http://" + hub
	w.direct = client{t: t, runtime: w.node.runtime}
	w.plain = client{t: t, runtime: newMemoryRuntime()}
	w.node.runtime.crio, w.plain.runtime.crio = crio, crio
	w.open()
	w.random = rand.New(rand.NewPCG(1, 1))
	for _, name := range modelNames {
		w.publish(name)
	}
	w.log = nil
	return w
}

// modelDirectory returns a directory in memory if possible, because each change of the ledger is
// synced to disk.
func modelDirectory(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("/dev/shm", "ledger")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

// open starts the shim with the saved ledger.
func (w *world) open() {
	t := w.direct.t
	ledger, err := ledger.Open(w.directory)
	if err != nil {
		t.Fatal(err)
	}
	w.node.ledger = ledger
	lookup := w.node.rewriter.lookup
	w.node.rewriter = New(Options{Lookup: lookup, Ledger: ledger, Warn: func(err error) {
		if status.Code(errors.Unwrap(err)) != codes.Unavailable {
			t.Errorf("warning: %v", err)
		}
	}})
	w.shim = w.node.client
}

func (w *world) close() {
	if err := w.node.ledger.Close(); err != nil {
		w.direct.t.Error(err)
	}
	_ = os.RemoveAll(w.directory)
}

// publish gives a name a new image in all registries that have it. Sometimes this is the image of
// another name.
func (w *world) publish(name string) {
	w.versions++
	image := newContent(fmt.Sprint("version ", w.versions))
	if w.random.IntN(3) == 0 {
		image = newContent(fmt.Sprint("version ", 1+w.random.IntN(w.versions)))
	}
	for _, other := range modelNames {
		if other == name || hubs(other) == hubs(name) && hubs(name) != "" {
			w.node.runtime.remote[other] = image
			w.plain.runtime.remote[other] = image
			if hubs(name) != "" {
				w.node.runtime.remote[hubs(name)] = image
			}
		}
	}
}

func (w *world) note(format string, arguments ...any) {
	w.log = append(w.log, fmt.Sprintf(format, arguments...))
}

// choose returns one of values at random.
func choose[V any](w *world, values []V) V { return values[w.random.IntN(len(values))] }

// step makes one random step and compares the nodes.
func (w *world) step() error {
	name := choose(w, modelNames)
	var err error
	switch action := w.random.IntN(40); {
	case action < 10:
		err = w.pull(name)
	case action < 13:
		err = w.remove(name)
	case action < 15:
		err = w.remove(w.someID())
	case action < 18:
		err = w.create(name)
	case action < 19:
		err = w.create(w.someID())
	case action < 20:
		w.removeContainer()
	case action < 22:
		w.note("publish %s", name)
		w.publish(name)
	case action < 24:
		w.breakHub()
	case action < 25:
		w.note("restart the shim")
		err = w.node.ledger.Close()
		w.open()
	case action < 26:
		err = w.runtimeRestart(name)
	case action < 28:
		err = w.status(name)
	default:
		w.other(name)
		// The shim detects changes of the other client when a client lists images or asks for
		// the names. kubelet lists every 30 seconds.
		err = w.compareLists()
	}
	if err != nil {
		return err
	}
	return w.compare()
}
