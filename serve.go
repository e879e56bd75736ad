package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/proxy"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/version"
)

// drain is how long running calls may go on after the first signal.
const drain = 30 * time.Second

// serve is the daemon.
func serve(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("unknown command %q: see image-cri-shim --help", c.Args().First())
	}
	settings, err := config.Load(file(c))
	if err != nil {
		return err
	}
	log := newLogger(c.App.ErrWriter, settings.Debug)
	log.WithField("file", file(c)).Info(version.Long())
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	// The first signal ends ctx, the second ends the draining.
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := newDaemon(ctx, file(c), settings, log)
	if err != nil {
		return quiet(ctx, err)
	}
	defer d.close()
	return quiet(ctx, d.run(ctx))
}

// quiet drops the error of something that a signal has ended: that is no failure.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// daemon is everything that runs.
type daemon struct {
	settings   *config.Config
	log        *logrus.Logger
	registries *registry.Set
	server     *proxy.Server
	operator   operator
}

// newDaemon puts the parts together. It listens on nothing yet.
func newDaemon(ctx context.Context, file string, settings *config.Config, log *logrus.Logger) (*daemon, error) {
	registries, err := openRegistries(file, settings, registry.Options{
		OnBreaker:  logBreaker(log),
		OnAuthFile: func(err error) { log.Warn(err) },
	})
	if err != nil {
		return nil, err
	}
	d := &daemon{settings: settings, log: log, registries: registries, operator: operator{file: absolute(file), read: settings.Read}}
	if err := d.connect(ctx); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *daemon) connect(ctx context.Context) error {
	ledger, err := rewrite.OpenLedger(d.settings.StateDirectory)
	if err != nil {
		d.log.WithError(err).Warn("ledger of image names")
	}
	if d.settings.Runtime == "" {
		if d.settings.Runtime, err = detectRuntime(ctx, d.log); err != nil {
			return err
		}
	}
	if config.SameSocket(d.settings.Shim, d.settings.Runtime) {
		return fmt.Errorf("shim %s and cri %s are one socket: the shim would be its own runtime", d.settings.Shim, d.settings.Runtime)
	}
	rewriter := rewrite.New(rewrite.Options{
		Lookup:  lookup{d.registries},
		Ledger:  ledger,
		Timeout: d.settings.Timeout,
		Decided: logDecision(d.log),
		Warn:    func(err error) { d.log.Warn(err) },
	})
	d.server, err = proxy.New(proxy.Options{
		Runtime:      d.settings.Runtime,
		Engine:       proxy.Engine(d.settings.Engine),
		Interceptors: interceptors(rewriter),
		Observe:      logCall(d.log),
	})
	if err != nil {
		return err
	}
	d.operator.explainer = &explain.Explainer{Registries: d.registries, Rewriter: rewriter, Invoke: d.server.Invoke}
	return nil
}

// detectRuntime waits until one of the well-known runtimes is there.
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
			log.WithError(err).Warn("waiting for a runtime")
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-retry.C:
		}
	}
}

// interceptors gives the rewriter's rules to the proxy, without either knowing
// the other.
func interceptors(rewriter *rewrite.Rewriter) proxy.Interceptors {
	unary := make(map[string]proxy.Unary)
	for method, handle := range rewriter.Unary() {
		unary[method] = func(ctx context.Context, request []byte, invoke proxy.Invoke) ([]byte, error) {
			return handle(ctx, request, rewrite.Invoke(invoke))
		}
	}
	stream := make(map[string]proxy.Stream)
	for method, handle := range rewriter.Stream() {
		stream[method] = func(ctx context.Context, request []byte, invoke proxy.Invoke) ([]byte, proxy.Transform, error) {
			return handle(ctx, request, rewrite.Invoke(invoke))
		}
	}
	pass := make(map[string]proxy.Pass)
	for method, look := range rewriter.Pass() {
		pass[method] = func(request []byte) (proxy.Restore, bool) {
			restore, ok := look(request)
			return func(ctx context.Context, response []byte, invoke proxy.Invoke) []byte {
				return restore(ctx, response, rewrite.Invoke(invoke))
			}, ok
		}
	}
	return proxy.Interceptors{Unary: unary, Stream: stream, Pass: pass}
}

// run serves until ctx is done, then drains.
func (d *daemon) run(ctx context.Context) error {
	defer d.operate(ctx)()
	if !d.settings.Force {
		if err := d.waitForRuntime(ctx); err != nil {
			return err
		}
	}
	listener, err := proxy.Listen(ctx, d.settings.Shim, d.settings.Runtime)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- d.server.Serve(listener) }()
	d.log.WithFields(logrus.Fields{"shim": d.settings.Shim, "cri": d.settings.Runtime}).Info("serving")
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", d.settings.Shim, err)
	case <-ctx.Done():
	}
	err = d.shutdown(ctx)
	return errors.Join(err, <-served)
}

func (d *daemon) waitForRuntime(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if d.server.WaitForRuntime(first) == nil {
		return nil
	}
	d.log.WithField("cri", d.settings.Runtime).Warn("waiting for the runtime's socket to answer (force: true serves without it)")
	return d.server.WaitForRuntime(ctx)
}

// shutdown lets running calls end, until the time is up or another signal comes.
func (d *daemon) shutdown(ctx context.Context) error {
	d.log.WithField("drain", drain).Info("stopping: running calls may end, a second signal cuts them")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := d.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		d.log.Warn("running calls were cut")
		return nil
	}
	d.log.Info("stopped")
	return err
}

func (d *daemon) close() {
	if d.server != nil {
		_ = d.server.Close()
	}
	d.registries.Close()
}

// logBreaker tells when a registry goes away and comes back.
func logBreaker(log *logrus.Logger) func(registry string, open bool, reason string) {
	return func(registry string, open bool, reason string) {
		if open {
			log.WithFields(logrus.Fields{"registry": registry, "reason": reason}).Warn("registry is down: it is not asked until it answers again")
			return
		}
		log.WithField("registry", registry).Info("registry is back")
	}
}
