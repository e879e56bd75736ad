package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	"image-cri-shim/e2e/testbed"
)

const (
	modelSeedKey  = "MODEL_SEED"  // seed of the random numbers, to repeat a run
	modelStepsKey = "MODEL_STEPS" // number of steps of a run
	modelSteps    = 2000
)

// imageModel compares two runtimes that receive the same calls. The test's client reaches
// one through the shim, which pulls the images from a private registry. It reaches the
// other directly; that runtime pulls the same images from the registries in their names.
type imageModel struct {
	t           *testing.T
	random      *rand.Rand
	shim        *testbed.Shim
	through     *modelRuntime // its client uses the shim
	withoutShim *modelRuntime
	registries  *modelRegistries
	images      *modelImages
	containers  []modelContainer
	created     int
	reloads     int
	log         []string
}

// modelContainer is a container that both runtimes have, with its ID in each.
type modelContainer struct{ name, through, withoutShim string }

// TestModel makes random calls to two runtimes, mixed with changes by a second client without
// the shim, outages of registries, and restarts.
func TestModel(t *testing.T) {
	needContainerd(t)
	seed, steps := uint64(time.Now().UnixNano()), uint64(modelSteps)
	for key, value := range map[string]*uint64{modelSeedKey: &seed, modelStepsKey: &steps} {
		if text := os.Getenv(key); text != "" {
			var err error
			if *value, err = strconv.ParseUint(text, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%s=%d repeats this run", modelSeedKey, seed)
	m := newModel(t, rand.New(rand.NewPCG(seed, 1)))
	start, taken := time.Now(), make(map[string]time.Duration)
	for range steps {
		before, begin, what := len(m.log), time.Now(), "look"
		m.step()
		if before < len(m.log) {
			what, _, _ = strings.Cut(m.log[len(m.log)-1], " ")
		}
		m.settle()
		m.lookAround()
		if t.Failed() {
			t.Fatalf("%s=%d, after\n%s", modelSeedKey, seed, strings.Join(m.log, "\n"))
		}
		taken[what] += time.Since(begin)
	}
	t.Logf("%d steps, %.1f a second: %v", steps, float64(steps)/time.Since(start).Seconds(), taken)
}

func newModel(t *testing.T, choices *rand.Rand) *imageModel {
	t.Helper()
	m := &imageModel{t: t, random: choices, registries: newModelRegistries(t)}
	m.images = newModelImages(t, choices, hostOf(m.registries.private))
	pause, err := testbed.Image("pause")
	if err != nil {
		t.Fatal(err)
	}
	m.registries.push(t, "pause:3.9", pause)
	m.images.ids[hash(t, pause.Digest)] = hash(t, pause.ConfigName)
	m.through = newModelRuntime(t, m.registries.throughShim, m.registries.private)
	m.withoutShim = newModelRuntime(t, m.registries.plain, m.registries.private)
	m.startShim()
	for _, name := range m.images.names {
		m.publish(name)
	}
	return m
}

// configuration differs at each reload, so that the shim discards its state of the registries.
func (m *imageModel) configuration() string {
	return fmt.Sprintf("address: %s\ntimeout: %dm\n", m.registries.private.Address(), 10+m.reloads%2)
}

func (m *imageModel) startShim() {
	m.t.Helper()
	options := testbed.ShimOptions{
		Binary: shared.shim, Folder: shortTempDir(m.t), Runtime: m.through.runtime.Socket(), Activated: true,
		Configuration: m.configuration() + engine(),
	}
	var err error
	if m.shim, err = testbed.StartShim(testContext(m.t), options); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(m.shim.CloseSocket)
	m.t.Cleanup(func() { (&node{shim: m.shim}).checkShim(m.t) })
	m.through.client = dial(m.t, m.shim.Socket()).Connection
}

func (m *imageModel) step() {
	name := m.images.name()
	switch choice := m.random.IntN(1000); {
	case choice < 250:
		m.pull(m.images.spelling(name))
	case choice < 350:
		m.publish(name)
	case choice < 430:
		m.remove(m.images.spelling(name))
	case choice < 490:
		m.remove(m.images.id(m.t))
	case choice < 510:
		m.remove(m.images.absent())
	case choice < 590:
		m.create(m.images.spelling(name), "")
	case choice < 630:
		m.create(m.images.id(m.t), name.spellings[m.random.IntN(len(name.spellings))])
	case choice < 690:
		m.removeContainer()
	case choice < 750:
		m.load(name)
	case choice < 820:
		m.tag()
	case choice < 890:
		m.untag()
	case choice < 950:
		m.pullDirectly(m.images.spelling(name))
	case choice < 970:
		m.setOutage(outages[m.random.IntN(len(outages))])
	case choice < 980:
		m.pullKilled(name)
	case choice < 985:
		m.restartShim((*testbed.Shim).Stop)
	case choice < 990:
		m.restartShim(kill)
	case choice < 992:
		m.restartRuntimes()
	default:
		m.pull(m.images.absent())
	}
}

// lookAround requests the status of some images and of a container.
func (m *imageModel) lookAround() {
	for range 3 {
		m.status(m.images.spelling(m.images.name()))
	}
	m.status(m.images.id(m.t))
	m.status(m.images.absent())
	m.stream()
	m.containerStatus()
}

func kill(shim *testbed.Shim) error {
	shim.Kill()
	return nil
}

// inBoth calls do for both runtimes concurrently.
func (m *imageModel) inBoth(do func(r *modelRuntime, through bool) error) error {
	var withShim, without error
	var both sync.WaitGroup
	both.Go(func() { withShim = do(m.through, true) })
	both.Go(func() { without = do(m.withoutShim, false) })
	both.Wait()
	return errors.Join(withShim, without)
}

// ask makes a call to both runtimes and requires equal answers or equal errors. It reports
// whether the call succeeded.
func (m *imageModel) ask(what string, call func(ctx context.Context, r *modelRuntime) (string, error)) bool {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	var answers [2]string
	var errs [2]error
	_ = m.inBoth(func(r *modelRuntime, through bool) error {
		i := 1
		if through {
			i = 0
		}
		answers[i], errs[i] = call(ctx, r)
		return nil
	})
	if !m.sameError(errs[0], errs[1]) || answers[0] != answers[1] {
		m.t.Errorf("%s\nwith the shim %s (%v)\nwithout it    %s (%v)", what, answers[0], errs[0], answers[1], errs[1])
	}
	return errs[1] == nil
}

// sameError reports whether two errors are equal, except for the address of the original
// registry and the text that the shim appends.
func (m *imageModel) sameError(got, want error) bool {
	return sameError(m.withoutAddress(got), m.withoutAddress(want))
}

func (m *imageModel) withoutAddress(err error) error {
	if err == nil {
		return nil
	}
	said := status.Convert(err)
	text := strings.NewReplacer(
		hostOf(m.registries.throughShim), "original",
		hostOf(m.registries.plain), "original",
	).Replace(said.Message())
	return status.Error(said.Code(), text)
}

func (m *imageModel) logStep(format string, arguments ...any) {
	m.log = append(m.log, fmt.Sprintf(format, arguments...))
}

// must fails the test if err is not nil.
func (m *imageModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%v, after\n%s", err, strings.Join(m.log, "\n"))
	}
}
