package cluster

import (
	"context"
	"errors"

	"k8s.io/client-go/kubernetes"
)

// WatchFiles returns a channel of the keys of one Secret or ConfigMap, by kind, namespace and
// name. The channel delivers the present content first and then each change; a slow reader
// receives only the newest. A missing or deleted object delivers nothing until it exists.
// Outages of the apiserver are retried. The channel is closed when ctx ends.
func WatchFiles(ctx context.Context, client kubernetes.Interface, namespace, kind, name string) (<-chan map[string][]byte, error) {
	return nil, errors.New("not written yet")
}
