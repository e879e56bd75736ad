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

// connections is the number of connections that carry the load: two like kubelet's, one
// for each CRI service.
const connections = 2

// answerTimeout is the timeout of one call. A contender that exceeds it has failed.
const answerTimeout = 20 * time.Second

// startTimeout is the time within which a contender must answer its first call.
const startTimeout = 20 * time.Second

// contender is one way from a client to the runtime. Each of its instances is a separate
// process.
type contender struct {
	name string
	// command returns the command that serves instance.socket, after it has written the
	// files of this command into instance.folder. It is nil for the direct way.
	command func(i *instance) ([]string, error)
	// missing is the reason why the contender can't be started here, or empty.
	missing string
	// binary is the program whose size is reported. It is empty if the program is this one.
	binary string
	// instrumented, if not nil, returns the command of a build that reports its
	// allocations; see [allocations.Variable].
	instrumented func(i *instance) ([]string, error)
	// restores is true if the contender knows the requested names of the registry's images.
	restores bool
	// names is true if the contender lets the runtime keep these names. It then runs in front
	// of the naming runtime.
	names bool
}

// foreign reports whether the contender is another project's, so that its failures are
// not failures of this project.
func (c *contender) foreign() bool { return c.binary != "" && c.instrumented == nil }

// instance is a running contender with its clients.
type instance struct {
	contender *contender
	folder    string
	socket    string // of the contender
	runtime   string // socket of the runtime behind it
	process   *process
	clients   []*grpc.ClientConn
	ready     time.Duration // from the start of the process to the first answered call
}

// start starts a contender in folder and returns once it has answered
// a call.
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

// answers makes one call on a new connection. It first checks that the socket accepts
// connections, because a gRPC client backs off after a failed connect.
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

// connect replaces the clients by new ones, each of which has made one call.
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
