package daemon

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/config"
	"image-cri-shim/printable"
	"image-cri-shim/proxy"
	"image-cri-shim/unixsocket"
)

// connect creates the server that forwards calls to the runtime. Without a runtime in the
// configuration, it waits until it finds one.
func (d *daemon) connect(ctx context.Context) (err error) {
	if d.runtime == "" {
		if d.runtime, err = detectRuntime(ctx, d.log); err != nil {
			return err
		}
	}
	if unixsocket.Same(d.settings.Shim, d.runtime) {
		return fmt.Errorf("shim %s and cri %s are the same socket: the shim would be its own runtime", d.settings.Shim, d.runtime)
	}
	d.server, err = proxy.New(proxy.Options{
		Runtime:      d.runtime,
		Engine:       proxy.Engine(d.settings.Engine),
		Interceptors: d.current.interceptors(d.current.Load()),
		Observer:     d.observers,
		Unbounded:    unboundedStreams,
	})
	d.connected.Store(err == nil)
	return err
}

// unboundedStreams are the methods that stream until the client cancels the call. A shutdown
// cancels them instead of draining them.
var unboundedStreams = []string{
	"/runtime.v1.RuntimeService/GetContainerEvents",
	"/containerd.services.events.v1.Events/Subscribe",
	"/grpc.health.v1.Health/Watch",
}

// anyRuntime describes the runtime that detectRuntime waits for.
const anyRuntime = "the socket of containerd, CRI-O or cri-dockerd"

// detectRuntime waits until it finds the socket of a well-known runtime, and returns it.
func detectRuntime(ctx context.Context, log *logrus.Logger) (string, error) {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for waiting := false; ; waiting = true {
		socket, err := config.DetectRuntime(ctx)
		if err == nil {
			log.WithField("cri", socket).Info("found the runtime's socket")
			return socket, nil
		}
		if !waiting {
			notify("STATUS=waiting for a runtime: " + printable.Error(err, errorLimit))
			log.WithError(err).Warn("waiting for a runtime")
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-retry.C:
		}
	}
}

// waitForRuntime waits until the runtime accepts connections. It logs a warning after a
// second.
func (d *daemon) waitForRuntime(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if d.server.WaitForRuntime(first) == nil {
		return nil
	}
	cause := d.dialRuntime(ctx, time.Second)
	if cause == nil {
		cause = fmt.Errorf("%s accepts connections, but does not answer", d.runtime)
	}
	notify("STATUS=waiting for the runtime: " + printable.Error(cause, errorLimit))
	d.log.WithField("cri", d.runtime).WithError(cause).Warn("waiting for the runtime (force: true serves without it)")
	return d.server.WaitForRuntime(ctx)
}

// dialRuntime returns an error if the runtime does not accept a connection within a timeout.
func (d *daemon) dialRuntime(ctx context.Context, timeout time.Duration) error {
	connection, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "unix", d.runtime)
	if err != nil {
		return err
	}
	return connection.Close()
}

// invoke calls the runtime on behalf of the daemon.
func (d *daemon) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	return d.server.Invoke(ctx, method, request)
}
