package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"k8s.io/client-go/kubernetes"

	"image-cri-shim/agent/cluster"
	"image-cri-shim/agent/rollout"
	"image-cri-shim/agent/service"
	"image-cri-shim/config"
	"image-cri-shim/version"
)

// source is the origin of the configuration: a folder, and an object of the cluster if kind is
// not empty.
type source struct {
	kind, namespace, name string // of the object: Secret or ConfigMap
	sealos                bool   // the object is the ConfigMap of sealos
}

func (s source) isLive() bool { return s.kind != "" }

// String names the object and the key that it must have.
func (s source) String() string {
	key := service.ConfigKey
	if s.sealos {
		key = config.SealosKey
	}
	return fmt.Sprintf("%s %s/%s with the key %s", s.kind, s.namespace, s.name, key)
}

// sourceOf returns the source in the flags.
func sourceOf(c *cli.Context) (source, error) {
	s := source{namespace: c.String("namespace")}
	live := c.String("live")
	switch {
	case c.Bool("from-sealos-configmap") && live != "":
		return s, usageError(c, "found --live and --from-sealos-configmap, expected one of them")
	case c.Bool("from-sealos-configmap"):
		s.sealos, s.kind, s.name = true, "ConfigMap", config.SealosConfigMap
		if s.namespace == "" {
			s.namespace = config.SealosNamespace
		}
	case c.IsSet("live"):
		kind, name, _ := strings.Cut(live, "/")
		s.kind, s.name = map[string]string{"secret": "Secret", "configmap": "ConfigMap"}[strings.ToLower(kind)], name
		if s.kind == "" || name == "" || strings.Contains(name, "/") {
			return s, usageError(c, "--live: found %q, expected secret/NAME or configmap/NAME", live)
		}
	case s.namespace != "":
		return s, usageError(c, "found --namespace without --live or --from-sealos-configmap")
	}
	return s, nil
}

// watcher is a source with the open files of the pod.
type watcher struct {
	source
	files   service.Files // of the folder
	account *os.File      // folder of the service account
	client  kubernetes.Interface
	log     logrus.FieldLogger
}

// open reads and opens all that is needed from the pod.
func (s source) open(folder string, log logrus.FieldLogger) (*watcher, error) {
	w := &watcher{source: s, log: log}
	var err error
	if _, missing := os.Stat(folder); !s.isLive() || !errors.Is(missing, fs.ErrNotExist) {
		if w.files, err = readFiles(folder); err != nil {
			return nil, err
		}
	}
	if !s.isLive() {
		if err := w.files.Validate(); err != nil {
			return nil, fmt.Errorf("read the configuration: %s: %w", folder, err)
		}
		return w, nil
	}
	if w.account, err = os.Open(cluster.ServiceAccount); err != nil {
		return nil, fmt.Errorf("open the service account: %w; does the pod set automountServiceAccountToken: true?", err)
	}
	if w.namespace == "" {
		content, err := readFile(filepath.Join(cluster.ServiceAccount, "namespace"), 1<<10)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("find the pod's namespace: %w; set --namespace", err)
		}
		w.namespace = strings.TrimSpace(string(content))
	}
	if w.client, err = cluster.Connect(descriptorPath(w.account)); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watcher) close() {
	if w.account != nil {
		_ = w.account.Close()
	}
}

// start returns a channel of the desired configurations. A value that is not received yet is
// replaced by a newer one. The goroutine behind the channel ends with ctx.
func (w *watcher) start(ctx context.Context) (<-chan rollout.Desired, error) {
	desired := make(chan rollout.Desired, 1)
	if !w.isLive() {
		desired <- rollout.Desired{Files: w.files, Version: version.Short()}
		return desired, nil
	}
	objects, err := cluster.WatchFiles(ctx, w.client, w.namespace, w.kind, w.name)
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(desired)
		for object := range objects {
			if object == nil && !w.sealos {
				continue // the node keeps its configuration until the object exists
			}
			next := w.desired(object)
			select {
			case <-desired: // an older one
			default:
			}
			desired <- next // never blocks: this goroutine is the only sender
		}
	}()
	return desired, nil
}

// desired merges the keys of the object into the files of the folder. object is nil if it does
// not exist.
func (w *watcher) desired(object map[string][]byte) rollout.Desired {
	d := rollout.Desired{Version: version.Short(), Absent: object == nil}
	files := maps.Clone(w.files)
	if files == nil {
		files = make(service.Files)
	}
	var err error
	if w.sealos {
		if _, d.Merged = object[config.SealosKey]; !d.Merged {
			w.log.Warnf("the cluster has no %s, which would be merged into the configuration", w.source)
		}
		files[service.ConfigKey], err = w.mergeSealos(files[service.ConfigKey], object[config.SealosKey])
	} else {
		maps.Copy(files, object)
	}
	if err == nil {
		err = files.Validate()
	}
	if err != nil {
		d.Err = fmt.Errorf("%s %s/%s: %w", w.kind, w.namespace, w.name, err)
		return d
	}
	d.Files = files
	return d
}

// mergeSealos merges the text of sealos' ConfigMap into the configuration, and logs the
// warnings. Without a text, the configuration stays as it is.
func (w *watcher) mergeSealos(file, registries []byte) ([]byte, error) {
	merged, warnings, err := config.MergeSealos(
		config.Source{Name: service.ConfigKey, Data: file},
		config.Source{Name: config.SealosKey, Data: registries})
	for _, warning := range warnings {
		w.log.Warn(warning)
	}
	return merged, err
}
