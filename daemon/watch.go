package daemon

import (
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// watch reports changes of a file: a write, a rename to the file, and a replaced link in its
// path. Kubernetes updates a mounted ConfigMap by replacing the link ..data.
type watch struct {
	file    string // absolute
	target  string // file with its links resolved
	watcher *fsnotify.Watcher
	events  <-chan fsnotify.Event // events and errors are nil without a watcher
	errors  <-chan error
}

func newWatch(file string, log logrus.FieldLogger) *watch {
	w := &watch{file: file}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.WithError(err).Warn("file watch failed, configuration changes are only read every reloadInterval")
		return w
	}
	w.watcher, w.events, w.errors = watcher, watcher.Events, watcher.Errors
	w.follow()
	return w
}

// follow watches the folders of the file and of its target. The next call retries a folder
// that does not exist.
func (w *watch) follow() {
	if w.watcher == nil {
		return
	}
	if target, err := filepath.EvalSymlinks(w.file); err == nil && target != w.target {
		if w.target != "" && filepath.Dir(w.target) != filepath.Dir(w.file) {
			_ = w.watcher.Remove(filepath.Dir(w.target)) // the folder may have been removed
		}
		w.target = target
	}
	for _, file := range []string{w.file, w.target} {
		if file != "" {
			_ = w.watcher.Add(filepath.Dir(file)) // no effect if it is watched already
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
