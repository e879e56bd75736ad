// Package daemon is the running program. It connects the proxy, the rewriter and the
// registries according to the configuration, and serves until it is stopped.
//
// [Run] reads the configuration and creates a [snapshot] of it: settings, registries and
// rewriter. A call uses one snapshot from start to end. A reload replaces the snapshot for
// later calls (reload.go, settle.go, watch.go). The daemon also runs the HTTP server for metrics, health
// and the debug page (http_server.go), the admin socket (admin_handler.go, trace_handler.go),
// the namer (naming.go), the monitor of the runtime (runtime_monitor.go) and the
// notifications to systemd (systemd.go, activation.go). All of them end with Run.
// docs/operation.md lists the log lines.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/proxy"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
	"image-cri-shim/trace"
	"image-cri-shim/unixsocket"
	"image-cri-shim/version"
)

// Run serves with the configuration in file until ctx is done or a signal ends it: SIGINT
// and SIGTERM drain running calls, a second signal cancels them, SIGHUP reloads the file. It
// logs to output. It returns nil if a signal ended it.
func Run(ctx context.Context, file string, output io.Writer) error {
	settings, err := config.Load(file)
	if err != nil {
		return err
	}
	setMemoryLimit()
	log := newLogger(output, settings.Debug)
	defer redirectStandardLog(log)()
	log.WithField("file", file).Info(version.Long())
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // unhandled, SIGHUP would end the process, even while it drains
	defer signal.Stop(hangups)
	// The first signal ends ctx, the second ends the draining.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := newDaemon(file, settings, log)
	if err != nil {
		return ignoreCanceled(ctx, err)
	}
	defer d.close()
	defer d.serveAdmin(ctx)()
	if err := d.connect(ctx); err != nil {
		return ignoreCanceled(ctx, err)
	}
	defer d.httpServer.close()
	defer d.reloadOnDemand(ctx, hangups)()
	return ignoreCanceled(ctx, d.run(ctx))
}

// ignoreCanceled returns nil if err is the cancellation of ctx, because a signal is not a
// failure.
func ignoreCanceled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// daemon is the running program.
type daemon struct {
	started    time.Time
	file       string         // path of the configuration, as on the command line
	settings   *config.Config // read at the start; keys that need a restart keep these values
	runtime    string         // the runtime's socket
	log        *logrus.Logger
	ledger     *ledger.Ledger
	namer      *naming.Namer // nil if all names are kept in the ledger
	server     *proxy.Server
	current    currentSnapshot
	httpServer *httpServer
	probe      singleflight.Group // of the runtime, see checkRuntime

	observers *observers

	read      atomic.Pointer[time.Time] // when the file was last found to match the current snapshot
	connected atomic.Bool               // whether connect has set runtime and server
	serving   atomic.Bool               // whether systemd was notified of readiness
	stopping  atomic.Bool
	refused   atomic.Pointer[string] // why the last reload failed; nil if it succeeded
}

// newDaemon returns a daemon that does not listen yet. The caller must close it.
func newDaemon(file string, settings *config.Config, log *logrus.Logger) (*daemon, error) {
	d := &daemon{started: time.Now(), file: file, settings: settings, runtime: settings.Runtime, log: log}
	d.observers = &observers{log: log, runtime: newRuntimeMonitor(), trace: trace.NewHub(trace.Options{UnboundedStreams: unboundedStreams, Invoke: d.invoke})}
	d.observers.trace.SetBuffer(settings.TraceBuffer)
	d.httpServer = &httpServer{handler: d.pages(), listen: d.listenHTTP, log: log, timeout: clientTimeout}
	var err error
	if d.ledger, err = ledger.Open(settings.StateDirectory); err != nil {
		log.WithError(err).Warn("reading the ledger failed")
	}
	if settings.Names == config.NamesAuto {
		d.namer = naming.New(naming.Options{
			Invoke:    d.invoke,
			Ledger:    d.ledger,
			Directory: settings.StateDirectory,
			Warn:      func(err error) { log.Warn(err) },
			Inform:    func(text string) { log.Info(text) },
		})
	} else if dropped, err := naming.DropJournal(settings.StateDirectory); err != nil {
		log.WithError(err).Warn("removing the journal of pulls failed")
	} else if dropped {
		log.Warn("with names: ledger, images of interrupted pulls keep their registry names")
	}
	first, err := d.newSnapshot(settings)
	if err != nil {
		return nil, err
	}
	d.current.Store(first)
	d.applyMetrics(time.Time{})
	d.applyDebugPage()
	d.read.Store(&settings.Read)
	return d, nil
}

// newSnapshot returns a snapshot of settings. All snapshots share the ledger, the namer and
// the observers.
func (d *daemon) newSnapshot(settings *config.Config) (*snapshot, error) {
	registries, err := lookup.Open(d.file, settings, registry.Options{
		OnBreaker:  logBreaker(d.log),
		OnLookup:   d.observers.countLookup,
		OnAuthFile: func(err error) { d.log.Warn(err) },
	})
	if err != nil {
		return nil, err
	}
	for _, warning := range lookup.Warnings(settings, registries) {
		d.log.Warn(warning)
	}
	return newSnapshot(settings, registries, rewrite.Options{
		Ledger:  d.ledger,
		Namer:   d.namer,
		Decided: d.observers.decided,
		Warn:    func(err error) { d.log.Warn(err) },
	}), nil
}

// run serves until ctx is done, then drains.
func (d *daemon) run(ctx context.Context) error {
	listener, err := activatedListener(d.settings.Shim)
	if err != nil {
		return err
	}
	if !d.settings.Force {
		if err := d.waitForRuntime(ctx); err != nil {
			return err
		}
	}
	if listener == nil {
		folder := filepath.Dir(d.settings.Shim)
		_, missing := os.Stat(folder)
		if listener, err = unixsocket.Listen(ctx, d.settings.Shim, d.runtime); err != nil {
			return err
		}
		if errors.Is(missing, fs.ErrNotExist) {
			d.log.WithField("folder", folder).Info("created the folder of the shim's socket")
		}
	}
	defer d.runNamer(ctx)()
	defer d.observers.runtime.start(ctx, d.probeRuntime, d.log.WithField("cri", d.runtime))()
	served := make(chan error, 1)
	clients := clientListener{probedListener{listener}, &d.observers.clients, d.observers.runtime.suspect}
	go func() { served <- d.server.Serve(clients) }()
	defer watchdog(ctx, d.settings.Shim, d.log)()
	d.serving.Store(true)
	notify(systemd.SdNotifyReady, d.servingLine())
	d.log.WithFields(logrus.Fields{"shim": d.settings.Shim, "cri": d.runtime}).Info("serving")
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", d.settings.Shim, err)
	case <-ctx.Done():
	}
	err = d.shutdown(ctx)
	return errors.Join(err, <-served)
}

// shutdown drains running calls until the drain timeout or a second signal.
func (d *daemon) shutdown(ctx context.Context) error {
	d.stopping.Store(true)
	drain := d.current.Load().settings.Drain
	notify(systemd.SdNotifyStopping, "STATUS=stopping: draining running calls")
	d.log.WithField("drain", drain).Info("stopping: draining running calls, a second signal cancels them")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := d.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		d.log.Warn("drain ended, running calls were canceled")
		return nil
	}
	d.log.Info("stopped")
	return err
}

func (d *daemon) close() {
	if d.server != nil {
		_ = d.server.Close()
	}
	// All calls have ended. The snapshot is not released, because pages and metrics may still
	// read it.
	d.current.Load().registries.Close()
	if err := d.ledger.Close(); err != nil {
		d.log.Warn(err)
	}
}
