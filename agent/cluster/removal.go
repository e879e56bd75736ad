package cluster

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"
	"k8s.io/client-go/kubernetes"
)

// AwaitRemoval waits until the DaemonSet that removes the shim is ready on every node. Then it
// deletes the DaemonSet and the release's Secrets. If only nodes that are down are missing, it
// leaves the DaemonSet for them and logs how to delete it later. A ctx that ends before is an
// error that names the nodes and their reasons.
func AwaitRemoval(ctx context.Context, client kubernetes.Interface, namespace, daemonSet string, log logrus.FieldLogger) error {
	return errors.New("not written yet")
}
