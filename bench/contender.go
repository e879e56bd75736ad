package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"image-cri-shim/proxy/proxytest"
)

// connections is how many connections the load goes over, as kubelet's does: one
// for each CRI service.
const connections = 2

// answerTimeout bounds one call, so that a contender that hangs has failed.
const answerTimeout = 20 * time.Second

// startTimeout is how long a contender may take to answer its first call.
const startTimeout = 20 * time.Second

// contender is one way from a client to the runtime. Its instances are processes
// of their own.
type contender struct {
	name string
	// command makes the command that serves instance.socket, and writes the
	// files that it needs into instance.folder. It is nil for the direct way.
	command func(i *instance) ([]string, error)
	// missing says why it can't be started here; empty if it can.
	missing string
	// binary is the program whose size counts; empty where it is this one.
	binary string
	// instrumented, where not nil, makes the command whose allocations can be
	// read; see [allocations.Variable].
	instrumented func(i *instance) ([]string, error)
	// restores says that it knows the users' names of what the registry served.
	restores bool
	// names says that it has the runtime keep these names, and stands in front of one that
	// can.
	names bool
}

// foreign tells a contender whose faults are no faults of this project.
func (c *contender) foreign() bool { return c.binary != "" && c.instrumented == nil }

// instance is a contender that runs, with clients.
type instance struct {
	contender *contender
	folder    string
	socket    string // where clients connect
	runtime   string // what it stands in front of
	process   *process
	clients   []*grpc.ClientConn
	ready     time.Duration // from its start to the first answered call
}

// start starts a contender in a folder of its own, and returns when it has
// answered a call.
func (c *contender) start(ctx context.Context, folder, runtime string, command func(*instance) ([]string, error), environment ...string) (*instance, error) {
	i := &instance{contender: c, folder: folder, socket: filepath.Join(folder, "listen.sock"), runtime: runtime}
	if command == nil {
		i.socket = runtime
		return i, i.connect(ctx)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	arguments, err := command(i)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	begun := time.Now()
	if i.process, err = startProcess(filepath.Join(folder, "log"), environment, arguments); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := i.process.waitUntil(ctx, func() error { return i.answers(ctx) }); err != nil {
		i.stop()
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	i.ready = time.Since(begun)
	if err := i.connect(ctx); err != nil {
		i.stop()
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return i, nil
}

// answers makes one call on a new connection. It looks first whether somebody
// listens: a gRPC client that has failed to connect takes a rest.
func (i *instance) answers(ctx context.Context) error {
	probe, err := net.Dial("unix", i.socket)
	if err != nil {
		return err
	}
	_ = probe.Close()
	client, err := proxytest.Dial(i.socket)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	_, err = versionStep.call(ctx, client)
	return err
}

// connect replaces the clients by new ones that have been answered.
func (i *instance) connect(ctx context.Context) error {
	i.disconnect()
	for range connections {
		client, err := proxytest.Dial(i.socket)
		if err != nil {
			return err
		}
		i.clients = append(i.clients, client)
		if _, err := versionStep.call(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

func (i *instance) disconnect() {
	for _, client := range i.clients {
		_ = client.Close()
	}
	i.clients = nil
}

func (i *instance) stop() {
	i.disconnect()
	if i.process != nil {
		i.process.stop()
	}
}
