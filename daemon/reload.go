package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"image-cri-shim/config"
	"image-cri-shim/printable"
)

// reloadOnDemand reloads the file on each SIGHUP, on each change and every reloadInterval,
// until end is called. It then applies the metrics address to the HTTP server.
func (d *daemon) reloadOnDemand(ctx context.Context, hangups <-chan os.Signal) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		watch := newWatch(absolute(d.file), d.log)
		defer watch.close()
		settling := newSettling(absolute(d.file)) // also for changes before the watch started
		interval := time.NewTimer(d.settings.ReloadInterval)
		defer interval.Stop()
		defer settling.timer.Stop()
		for {
			wanted := false
			select {
			case <-ctx.Done():
				return
			case event := <-watch.events:
				if watch.concerns(event) {
					settling.restart()
				}
				continue
			case <-watch.errors: // events were lost
				settling.restart()
				continue
			case <-interval.C:
				settling.restart()
				continue
			case <-hangups:
				wanted = true
			case <-settling.timer.C:
			}
			watch.follow()
			var settings *config.Config
			var err error
			load := func() { settings, err = config.Load(d.file) }
			if wanted {
				load()
			} else if !settling.read(load) {
				continue
			}
			d.reload(settings, err, wanted)
			d.applyMetrics(time.Now())
			d.applyDebugPage()
			d.httpServer.move(ctx, d.current.Load().settings.Metrics)
			interval.Reset(d.current.Load().settings.ReloadInterval)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// reload replaces the current snapshot if the file's settings have changed or wanted is set,
// which is an operator's request. If err is set, the file can't be used: the current snapshot
// stays.
func (d *daemon) reload(settings *config.Config, err error, wanted bool) {
	if err == nil {
		err = d.current.Load().settings.CheckEmptied(settings)
	}
	if err == nil && !wanted && settings.Equal(d.current.Load().settings) {
		d.read.Store(&settings.Read)
		if d.refused.Swap(nil) != nil {
			d.notify(d.servingLine())
			d.log.WithField("file", d.file).Info("configuration file is valid again and unchanged")
		}
		return
	}
	known := d.refusal()
	if err != nil && !wanted && err.Error() == known {
		return
	}
	d.notify(systemd.SdNotifyReloading, strings.TrimSpace(systemd.SdNotifyMonotonicUsec()))
	if err == nil {
		err = d.apply(settings)
	}
	if err == nil {
		d.refused.Store(nil)
		d.notify(systemd.SdNotifyReady, d.servingLine())
		return
	}
	d.notify(systemd.SdNotifyReady, d.servingLine()+"; configuration reload failed: "+printable.Error(err, errorLimit))
	if wanted || err.Error() != known {
		d.log.WithField("file", d.file).WithError(err).Error("configuration reload failed, the last good configuration stays in force")
	}
	text := err.Error()
	d.refused.Store(&text)
}

// refusal returns why the last reload failed, or "" if it succeeded.
func (d *daemon) refusal() string {
	if refused := d.refused.Load(); refused != nil {
		return *refused
	}
	return ""
}

// apply replaces the current snapshot with one of settings.
func (d *daemon) apply(settings *config.Config) error {
	next, err := d.newSnapshot(settings)
	if err != nil {
		return err
	}
	setDebug(d.log, settings.Debug)
	d.read.Store(&settings.Read)
	d.current.exchange(next)
	d.observers.trace.SetBuffer(settings.TraceBuffer)
	log := d.log.WithField("file", d.file)
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	if keys := d.settings.NeedRestart(settings); len(keys) > 0 {
		log.WithField("keys", keys).Warn("changed keys take effect after a restart")
	}
	log.Info("reloaded the configuration")
	return nil
}

// absolute returns the absolute path of a file, for display to processes with another working
// directory.
func absolute(file string) string {
	if path, err := filepath.Abs(file); err == nil {
		return path
	}
	return file
}
