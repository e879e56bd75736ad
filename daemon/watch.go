package daemon

import (
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

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
