package daemon

import (
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// watch reports changes of a file. It notices a write, a rename to the file, and an
// exchanged link in its path: Kubernetes updates a mounted ConfigMap by exchanging the
// link ..data.
type watch struct {
	file    string // absolute
	target  string // file with its links resolved
	watcher *fsnotify.Watcher
	events  <-chan fsnotify.Event // like errors, nil if there is no watcher
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

// follow watches the folders of the file and of its target. A folder that does not exist
// is tried again at the next call.
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

// concerns reports whether an event may have changed the file.
func (w *watch) concerns(event fsnotify.Event) bool {
	return event.Name == w.file || event.Name == w.target || filepath.Base(event.Name) == "..data"
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}
