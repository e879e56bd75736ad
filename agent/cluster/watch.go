package cluster

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// WatchFiles returns a channel of the keys of one Secret or ConfigMap, by kind, namespace and
// name. The channel delivers the present content first and then each change of it; a slow
// reader receives only the newest. A missing or deleted object delivers nil. After an
// outage of the apiserver, the object is read again, with a backoff of at most 30 s. The
// channel is closed when ctx ends.
//
// The service account needs get, list and watch for this name only.
func WatchFiles(ctx context.Context, client kubernetes.Interface, namespace, kind, name string) (<-chan map[string][]byte, error) {
	source := &cache.ListWatch{}
	var object runtime.Object
	switch kind {
	case "Secret":
		object = &corev1.Secret{}
		secrets := client.CoreV1().Secrets(namespace)
		source.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return secrets.List(ctx, only(name, options))
		}
		source.WatchFuncWithContext = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return secrets.Watch(ctx, only(name, options))
		}
	case "ConfigMap":
		object = &corev1.ConfigMap{}
		configMaps := client.CoreV1().ConfigMaps(namespace)
		source.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return configMaps.List(ctx, only(name, options))
		}
		source.WatchFuncWithContext = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return configMaps.Watch(ctx, only(name, options))
		}
	default:
		return nil, fmt.Errorf("watch %s/%s: found kind %q, expected Secret or ConfigMap", namespace, name, kind)
	}
	newest := &newestFiles{files: make(chan map[string][]byte, 1)}
	reflector := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(source, client), object, newest,
		cache.ReflectorOptions{Name: kind + " " + namespace + "/" + name})
	go func() {
		defer close(newest.files)
		reflector.RunWithContext(ctx)
	}()
	return newest.files, nil
}

// only restricts a list or watch to one name.
func only(name string, options metav1.ListOptions) metav1.ListOptions {
	options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	return options
}

// newestFiles is the store of a reflector. It keeps the keys of the last object in a channel
// with one place. Only the reflector's goroutine calls its methods.
type newestFiles struct {
	files chan map[string][]byte
	began bool              // whether something was delivered
	last  map[string][]byte // delivered last; nil: no object
}

// deliver sends the keys of an object.
func (n *newestFiles) deliver(object any) error {
	files := make(map[string][]byte)
	switch object := object.(type) {
	case *corev1.Secret:
		maps.Copy(files, object.Data)
	case *corev1.ConfigMap:
		maps.Copy(files, object.BinaryData)
		for key, text := range object.Data {
			files[key] = []byte(text)
		}
	default:
		return fmt.Errorf("found an object of type %T, expected a Secret or ConfigMap", object)
	}
	n.send(files)
	return nil
}

// send replaces the files in the channel, unless they are those that were sent last.
func (n *newestFiles) send(files map[string][]byte) {
	if n.began && (files == nil) == (n.last == nil) && maps.EqualFunc(files, n.last, bytes.Equal) {
		return // only metadata changed, or the object was read again after an outage
	}
	n.began, n.last = true, files
	select {
	case <-n.files: // an older content that the reader has not taken
	default:
	}
	n.files <- maps.Clone(files)
}

func (n *newestFiles) Add(object any) error    { return n.deliver(object) }
func (n *newestFiles) Update(object any) error { return n.deliver(object) }
func (n *newestFiles) Delete(any) error        { n.send(nil); return nil }
func (n *newestFiles) Resync() error           { return nil }

// Replace takes the objects of a list: one, or none if the object does not exist.
func (n *newestFiles) Replace(objects []any, _ string) error {
	for _, object := range objects {
		if err := n.deliver(object); err != nil {
			return err
		}
	}
	if len(objects) == 0 {
		n.send(nil)
	}
	return nil
}
