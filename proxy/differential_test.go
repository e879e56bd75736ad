package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/proxytest"
)

// Environment variables of the differential test: the seed, the number of calls through each
// target, and a sequence of calls or one call to make instead.
const (
	seedVariable     = "DIFFERENTIAL_SEED"
	callsVariable    = "DIFFERENTIAL_CALLS"
	sequenceVariable = "DIFFERENTIAL_SEQUENCE"
	scriptVariable   = "DIFFERENTIAL_SCRIPT"
)

const (
	// differentialCalls is the default number of calls.
	differentialCalls = 1500
	// sequenceCalls is the number of calls made one after the other, in waves, on the same
	// connections.
	sequenceCalls = 100
	// sequencesAtOnce is the number of sequences that run at the same time.
	sequencesAtOnce = 16
	// differencesShown bounds the differences in the output.
	differencesShown = 5
)

// target is a socket for calls, and the runtime behind it.
type target struct {
	name   string
	socket string
	*fakeRuntime
}

// TestDifferential makes the same random calls directly, through the grpc engine
// and through the frame engine: the client must not see a difference.
func TestDifferential(t *testing.T) {
	targets := []target{newTarget(t, "direct", nil)}
	for _, under := range engines {
		targets = append(targets, newTarget(t, under.name, &under))
	}
	if text := os.Getenv(scriptVariable); text != "" {
		var s script
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if report := compare(t.Context(), targets, []script{s}); report != "" {
			t.Error(report)
		}
		return
	}
	seed := fromEnvironment(t, seedVariable, rand.Uint64()>>1)
	calls := fromEnvironment(t, callsVariable, differentialCalls)
	t.Logf("%d calls through each target; again with %s=%d", calls, seedVariable, seed)
	sequences := (calls + sequenceCalls - 1) / sequenceCalls
	var failed atomic.Int64
	var next atomic.Uint64
	if number := fromEnvironment(t, sequenceVariable, sequences); number < sequences {
		next.Store(number)
		sequences = number + 1
	}
	var running sync.WaitGroup
	for range sequencesAtOnce {
		running.Go(func() {
			for failed.Load() < differencesShown {
				number := next.Add(1) - 1
				if number >= sequences {
					return
				}
				if report := compare(t.Context(), targets, sequence(seed, number)); report != "" {
					failed.Add(1)
					t.Errorf("%s=%d %s=%d: %s", seedVariable, seed, sequenceVariable, number, report)
				}
			}
		})
	}
	running.Wait()
}

func newTarget(t *testing.T, name string, under *engineUnderTest) target {
	t.Helper()
	runtime := startRuntime(t)
	to := target{name, runtime.Socket(), new(fakeRuntime)}
	to.handle(runtime, under == nil)
	if under != nil {
		engine := runEngine(t, *under, proxy.Options{Runtime: runtime.Socket(), Interceptors: intercepting})
		engine.awaitRuntime(t)
		to.socket = engine.socket
	}
	return to
}

func fromEnvironment(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return value
}

func sequence(seed, number uint64) []script {
	random := rand.New(rand.NewPCG(seed, number))
	scripts := make([]script, sequenceCalls)
	for at := range scripts {
		scripts[at] = randomScript(random)
	}
	return scripts
}

// compare runs the scripts through each target and reports the first call with an outcome that
// differs from that of the first target.
func compare(ctx context.Context, targets []target, scripts []script) string {
	var want []string
	for _, to := range targets {
		got, err := to.run(ctx, scripts)
		if err != nil {
			return err.Error()
		}
		if want == nil {
			want = got
			continue
		}
		for at, s := range scripts {
			if got[at] == want[at] {
				continue
			}
			alone := "only among the calls of its sequence"
			if len(scripts) > 1 && compare(ctx, targets, []script{s}) != "" {
				alone = "also alone"
			}
			return fmt.Sprintf("call %d, %s\n%s='%s'\n%s: %s\n%s: %s", at, alone, scriptVariable, s,
				targets[0].name, want[at], to.name, got[at])
		}
	}
	return ""
}

// run makes the calls of a sequence, in waves of several at once, over a few
// connections, and returns their outcomes.
func (t target) run(ctx context.Context, scripts []script) ([]string, error) {
	random := rand.New(rand.NewPCG(uint64(len(scripts[0].String())), 0)) // the same for each target
	connections := make([]*grpc.ClientConn, 1+random.IntN(3))
	for at := range connections {
		connection, err := proxytest.Dial(t.socket)
		if err != nil {
			return nil, err
		}
		defer func() { _ = connection.Close() }()
		connections[at] = connection
	}
	outcomes := make([]string, len(scripts))
	for from := 0; from < len(scripts); {
		wave := min(1<<random.IntN(6), len(scripts)-from)
		var running sync.WaitGroup
		for at := from; at < from+wave; at++ {
			connection := connections[random.IntN(len(connections))]
			running.Go(func() {
				outcomes[at] = t.call(ctx, connection, scripts[at], fmt.Sprintf("%p %d", outcomes, at))
			})
		}
		running.Wait()
		from += wave
	}
	return outcomes, nil
}
