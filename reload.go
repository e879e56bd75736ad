package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"

	"image-cri-shim/config"
)

// settle is how long a file must rest before it is read: whoever writes it may not
// have finished.
const settle = 100 * time.Millisecond

// reloadOnDemand reads the file again at each hangup, when it changes, and after
// reloadInterval at the latest, until end is called.
func (d *daemon) reloadOnDemand(ctx context.Context, hangups <-chan os.Signal) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		watch := newWatch(absolute(d.file), d.log)
		defer watch.close()
		interval, settled := time.NewTimer(d.settings.ReloadInterval), time.NewTimer(0) // what has changed before
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
			case <-watch.errors: // some events are lost
			case <-hangups:
				wanted = true
			case <-settled.C:
			case <-interval.C:
			}
			watch.follow()
			d.reload(wanted)
			interval.Reset(d.current.Load().settings.ReloadInterval)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// reload makes what the file says now the current generation, where it says
// something new or an operator wants it. Where that can't be done all stays as it is.
func (d *daemon) reload(wanted bool) {
	log := d.log.WithField("file", d.file)
	settings, err := config.Load(d.file)
	if err == nil && !wanted && settings.Equal(d.current.Load().settings) {
		d.read.Store(&settings.Read)
		d.refused = ""
		return
	}
	var next *generation
	if err == nil {
		next, err = d.generate(settings)
	}
	if err != nil {
		if wanted || err.Error() != d.refused {
			log.WithError(err).Error("the configuration can't be reloaded: the last good one stays")
		}
		d.refused = err.Error()
		return
	}
	d.refused = ""
	d.install(next)
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	if keys := d.settings.NeedRestart(settings); len(keys) > 0 {
		log.WithField("keys", keys).Warn("what these keys say now takes a restart")
	}
	log.Info("reloaded the configuration")
}

// install makes a generation the current one.
func (d *daemon) install(g *generation) {
	setDebug(d.log, g.settings.Debug)
	d.read.Store(&g.settings.Read)
	d.current.exchange(g)
}

// watch tells of changes of a file: it is written to, renamed to, or a link on the
// way to it is exchanged, as Kubernetes does with the files of a mounted ConfigMap,
// whose folders all stand behind a link ..data.
type watch struct {
	file    string // absolute
	target  string // what it is without links
	watcher *fsnotify.Watcher
	events  <-chan fsnotify.Event // nil where nothing can be watched, like errors
	errors  <-chan error
}

func newWatch(file string, log logrus.FieldLogger) *watch {
	w := &watch{file: file}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.WithError(err).Warn("the configuration's changes are noticed at the next interval only")
		return w
	}
	w.watcher, w.events, w.errors = watcher, watcher.Events, watcher.Errors
	w.follow()
	return w
}

// follow watches the folders that the file and its links are in now. Those that
// are not there are tried again when it is called the next time.
func (w *watch) follow() {
	if w.watcher == nil {
		return
	}
	if target, err := filepath.EvalSymlinks(w.file); err == nil && target != w.target {
		if w.target != "" && filepath.Dir(w.target) != filepath.Dir(w.file) {
			_ = w.watcher.Remove(filepath.Dir(w.target)) // it may be gone already
		}
		w.target = target
	}
	for _, file := range []string{w.file, w.target} {
		if file != "" {
			_ = w.watcher.Add(filepath.Dir(file)) // again is fine
		}
	}
}

// concerns tells whether an event may have changed the file.
func (w *watch) concerns(event fsnotify.Event) bool {
	return event.Name == w.file || event.Name == w.target || filepath.Base(event.Name) == "..data"
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}
