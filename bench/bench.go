package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/proxytest"
)

// size is the size of a run.
type size struct {
	rounds      int
	sampleTime  time.Duration // duration of one share of a workload
	starts      int           // number of starts of each contender
	passes      int           // repetitions of the measurements outside the rounds
	calls       int           // number of calls of a long run
	connections int           // number of open connections in measureConnections
}

var (
	full  = size{rounds: 10, sampleTime: 80 * time.Millisecond, starts: 7, passes: 5, calls: 1_000_000, connections: 1000}
	quick = size{rounds: 2, sampleTime: 30 * time.Millisecond, starts: 2, passes: 1, calls: 25_600, connections: 100}
)

// bench is the state of one run.
type bench struct {
	size       size
	only       *regexp.Regexp // selects workloads by name
	machine    machine
	folder     string // holds the files of all processes
	output     io.Writer
	registry   *registry
	runtimes   []*process
	contenders []*contender
	instances  map[*contender]*instance
	tables     []*table
	figures    map[*contender]*figures
}

// runBench measures the selected workloads and returns the results. If all workloads are
// selected, it also measures the programs.
func runBench(ctx context.Context, size size, only *regexp.Regexp, output io.Writer) (result *results, err error) {
	folder, err := os.MkdirTemp("", "image-cri-shim-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{size: size, only: only, machine: thisMachine(), folder: folder, output: output, instances: map[*contender]*instance{}, figures: map[*contender]*figures{}}
	defer b.stop()
	begun := time.Now()
	for _, part := range []struct {
		name     string
		run      func(context.Context) error
		programs bool // measures the programs, not a workload
	}{
		{name: "build and start", run: b.startBackends},
		{name: "starts and idle memory", run: b.measureStart, programs: true},
		{name: "start the contenders", run: b.startContenders},
		{name: "rounds", run: b.runRounds},
		{name: "opaque calls", run: b.measureOpaqueCalls},
		{name: "allocations", run: b.measureAllocations, programs: true},
		{name: "many calls, many connections, large messages", run: b.measureEndurance, programs: true},
	} {
		if part.programs && only.String() != "" {
			continue
		}
		b.log("%s", part.name)
		if err := part.run(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return b.results(time.Since(begun)), nil
}

func (b *bench) log(format string, arguments ...any) {
	fmt.Fprintf(b.output, time.Now().Format("15:04:05 ")+format+"\n", arguments...)
}

// startBackends starts the registry and the runtimes behind the contenders.
func (b *bench) startBackends(ctx context.Context) (err error) {
	if b.registry, err = startRegistry(ctx); err != nil {
		return err
	}
	if b.contenders, err = contenders(ctx, b.folder, b.registry.host); err != nil {
		return err
	}
	itself, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, role := range []string{"runtime", namingRuntime} {
		probe := &instance{socket: b.socket(role)}
		runtime, err := startProcess(filepath.Join(b.folder, role+".log"), nil, []string{itself, "contender", role, probe.socket, b.registry.host})
		if err != nil {
			return fmt.Errorf("start the %s: %w", role, err)
		}
		b.runtimes = append(b.runtimes, runtime)
		if err := runtime.waitUntil(ctx, func() error { return probe.answers(ctx) }); err != nil {
			return fmt.Errorf("start the %s: %w", role, err)
		}
	}
	return nil
}

// socket returns the path of a runtime's socket.
func (b *bench) socket(role string) string { return filepath.Join(b.folder, role+".sock") }

// runtimeSocket returns the socket of a contender's runtime.
func (b *bench) runtimeSocket(c *contender) string {
	if c.names {
		return b.socket(namingRuntime)
	}
	return b.socket("runtime")
}

// startContenders starts the instances that run during all rounds.
func (b *bench) startContenders(ctx context.Context) error {
	b.tables = newTables(b.contenders, b.only)
	for _, c := range b.contenders {
		if c.missing != "" {
			b.log("%s: %s", c.name, c.missing)
			continue
		}
		i, err := c.start(ctx, b.folderOf(c, "rounds"), b.runtimeSocket(c), c.command)
		if err != nil {
			return err
		}
		b.instances[c] = i
		if err := b.pullServed(ctx, i); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (b *bench) runRounds(ctx context.Context) error {
	for round := range b.size.rounds {
		b.log("round %d of %d", round+1, b.size.rounds)
		if err := b.runRound(ctx, round+1); err != nil {
			return err
		}
	}
	return nil
}

// pullServed pulls the registry's images through a shim, so that the requested names are known.
func (b *bench) pullServed(ctx context.Context, i *instance) error {
	if !i.contender.restores {
		return nil
	}
	for n := range served {
		if err := b.pull(ctx, i, n); err != nil {
			return err
		}
	}
	if i.contender.names {
		return b.checkNames(ctx)
	}
	return nil
}

func (b *bench) pull(ctx context.Context, i *instance, n int) error {
	request := encode(&runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: userName(n)}})
	response, err := proxytest.Invoke(ctx, i.clients[0], imageService+"PullImage", request)
	if err != nil {
		return fmt.Errorf("pull %s: %w", userName(n), err)
	}
	pulled := &runtimeapi.PullImageResponse{}
	if err := proto.Unmarshal(response, pulled); err != nil || pulled.ImageRef != imageID(n) {
		return fmt.Errorf("pulled %s as %q, want %s", userName(n), pulled.ImageRef, imageID(n))
	}
	return nil
}

// checkNames checks that the naming runtime has only the requested names.
func (b *bench) checkNames(ctx context.Context) error {
	client, err := proxytest.Dial(b.socket(namingRuntime))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	response, err := proxytest.Invoke(ctx, client, imageService+"ListImages", nil)
	if err != nil {
		return err
	}
	if bytes.Contains(response, []byte(b.registry.host)) || !bytes.Contains(response, []byte(userName(0))) {
		return errors.New("the runtime does not have the requested names of the images, or still has the registry's")
	}
	return nil
}

// folderOf returns the path of a contender's folder for one purpose.
func (b *bench) folderOf(c *contender, purpose string) string {
	return filepath.Join(b.folder, strings.ReplaceAll(c.name, ", ", "-")+"-"+purpose)
}

// withoutFolder returns an error's text without the run's temporary folder.
func (b *bench) withoutFolder(err error) string {
	return strings.ReplaceAll(err.Error(), b.folder, "...")
}

func (b *bench) stop() {
	for _, i := range b.instances {
		i.stop()
	}
	for _, runtime := range b.runtimes {
		runtime.stop()
	}
	if b.registry != nil {
		b.registry.stop()
	}
}
