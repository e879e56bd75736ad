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

// settle is the time that a file must stay unchanged before it is read: an editor may still
// write it.
const settle = 100 * time.Millisecond

// reloadOnDemand reads the file again at each hangup, when it changes, and after
// reloadInterval at the latest, until end is called. It moves the HTTP server along.
func (d *daemon) reloadOnDemand(ctx context.Context, hangups <-chan os.Signal) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		watch := newWatch(absolute(d.file), d.log)
		defer watch.close()
		interval, settled := time.NewTimer(d.settings.ReloadInterval), time.NewTimer(0) // for changes before the watch
		defer interval.Stop()
		defer settled.Stop()
		for {
			wanted := false
			select {
			case <-ctx.Done():
				return
			case event := <-watch.events:
				if watch.concerns(event) {
					settled.Reset(settle)
				}
				continue
			case <-watch.errors: // events were lost
			case <-hangups:
				wanted = true
			case <-settled.C:
			case <-interval.C:
			}
			watch.follow()
			d.reload(wanted)
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

// reload replaces the current snapshot if the file has changed, or if an operator wants a
// reload. If the file can't be used the current snapshot stays.
func (d *daemon) reload(wanted bool) {
	settings, err := config.Load(d.file)
	if err == nil && !wanted && settings.Equal(d.current.Load().settings) {
		d.read.Store(&settings.Read)
		if d.refused.Swap(nil) != nil {
			d.notify(d.servingLine())
			d.log.WithField("file", d.file).Info("the configuration can be loaded again, and says what it said before")
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
	d.notify(systemd.SdNotifyReady, d.servingLine()+"; the configuration can't be reloaded: "+printable.Error(err, errorLimit))
	if wanted || err.Error() != known {
		d.log.WithField("file", d.file).WithError(err).Error("the configuration can't be reloaded: the last good one stays")
	}
	text := err.Error()
	d.refused.Store(&text)
}

// refusal returns why the last reload failed; empty if it succeeded.
func (d *daemon) refusal() string {
	if refused := d.refused.Load(); refused != nil {
		return *refused
	}
	return ""
}

// apply makes a snapshot of settings the current one.
func (d *daemon) apply(settings *config.Config) error {
	next, err := d.newSnapshot(settings)
	if err != nil {
		return err
	}
	setDebug(d.log, settings.Debug)
	d.read.Store(&settings.Read)
	d.current.exchange(next)
	log := d.log.WithField("file", d.file)
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	if keys := d.settings.NeedRestart(settings); len(keys) > 0 {
		log.WithField("keys", keys).Warn("these keys take effect after a restart")
	}
	log.Info("reloaded the configuration")
	return nil
}

// absolute returns the absolute path of a file, for readers with another working directory.
func absolute(file string) string {
	if path, err := filepath.Abs(file); err == nil {
		return path
	}
	return file
}
