package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

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

// watcher is a source whose files in the pod are open.
type watcher struct {
	source
	files   service.Files // of the folder
	account *os.File      // folder of the service account
	client  kubernetes.Interface
}

// open reads and opens all that is needed from the pod.
func (s source) open(folder string) (*watcher, error) {
	w := &watcher{source: s}
	var err error
	if w.files, err = readFiles(folder); err != nil && !(s.isLive() && os.IsNotExist(err)) {
		return nil, err
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

// desired merges the keys of the object into the files of the folder.
func (w *watcher) desired(object map[string][]byte) rollout.Desired {
	files, err := w.merge(object)
	if err == nil {
		err = files.Validate()
	}
	if err != nil {
		err = fmt.Errorf("%s %s/%s: %w", w.kind, w.namespace, w.name, err)
		return rollout.Desired{Version: version.Short(), Err: err}
	}
	return rollout.Desired{Files: files, Version: version.Short()}
}

func (w *watcher) merge(object map[string][]byte) (service.Files, error) {
	files := make(service.Files)
	maps.Copy(files, w.files)
	if !w.sealos {
		maps.Copy(files, object)
		return files, nil
	}
	text, ok := object[config.SealosKey]
	if !ok {
		return nil, fmt.Errorf("the key %s is missing", config.SealosKey)
	}
	merged, _, err := config.MergeSealos(
		config.Source{Name: service.ConfigKey, Data: files[service.ConfigKey]},
		config.Source{Name: config.SealosKey, Data: text})
	if err != nil {
		return nil, err
	}
	files[service.ConfigKey] = merged
	return files, nil
}
