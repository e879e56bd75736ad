package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const (
	pollInterval  = 2 * time.Second
	callTimeout   = time.Minute // of all calls of one poll
	lastTimeout   = 15 * time.Second
	logInterval   = 10 * time.Second
	podsPerSecond = 500 // of the removal that are read on average; a page has so many
)

// AwaitRemoval waits until the shim is removed from every node that is up. daemonSet is the
// name of the agent's DaemonSet; the one that removes the shim has the same name with -remove
// at its end. Its pods are available once their node is clean. AwaitRemoval then deletes it, and the
// Secrets with configurations.
//
// If only nodes that are down are missing, AwaitRemoval deletes the Secrets, leaves the
// DaemonSet for these nodes, and logs their names and how to delete it. If ctx ends before, the
// error names the nodes with their reasons, and nothing is deleted.
func AwaitRemoval(ctx context.Context, client kubernetes.Interface, namespace, daemonSet string, log logrus.FieldLogger) error {
	name := daemonSet + removalSuffix
	left := missing{count: -1}
	var logged time.Time
	var failure error // of the last poll
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		found, err := findMissing(limited, client, namespace, name, left)
		if err != nil && ctx.Err() != nil {
			return false, nil // the poll before this one has the reasons
		}
		if failure = err; err != nil {
			log.WithError(err).Warn("apiserver did not answer, retrying")
			return false, nil
		}
		if found.count != left.count && found.count > 0 && time.Since(logged) >= logInterval {
			log.WithField("nodes", found.count).Info("waiting for the removal from nodes")
			logged = time.Now()
		}
		left = found
		return left.count == len(left.down), nil
	})
	if err != nil {
		if failure == nil {
			failure = explain(ctx, client, namespace, name, left).err()
		}
		return fmt.Errorf("wait for DaemonSet %s/%s: %w (%w); the DaemonSet stays; delete it and its Secrets when all its pods are available: "+
			"kubectl --namespace %s delete daemonset,secret --selector %s=%s", namespace, name, failure, context.Cause(ctx), namespace, ConfigurationLabel, daemonSet)
	}
	deleted, err := deleteSecrets(ctx, client, namespace, daemonSet, nil)
	if err != nil {
		return err
	}
	log.WithField("secrets", len(deleted)).Info("deleted the Secrets with configurations")
	if len(left.down) > 0 {
		log.WithField("nodes", abridge(left.down)).Warnf("nodes are down; DaemonSet %[1]s stays and removes the shim from them when they return. Delete it afterwards: "+
			"kubectl --namespace %[2]s rollout status daemonset/%[1]s && kubectl --namespace %[2]s delete daemonset %[1]s", name, namespace)
		return nil
	}
	background := metav1.DeletePropagationBackground
	err = client.AppsV1().DaemonSets(namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete DaemonSet %s/%s: %w", namespace, name, err)
	}
	log.Info("the shim is removed from every node")
	return nil
}

// findMissing returns the nodes that are not clean. former are those of the poll before this one.
// A DaemonSet that does not exist was deleted by an earlier run.
func findMissing(ctx context.Context, client kubernetes.Interface, namespace, name string, former missing) (missing, error) {
	removal, err := client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return missing{}, nil
	}
	if err != nil {
		return missing{}, fmt.Errorf("read DaemonSet %s/%s: %w", namespace, name, err)
	}
	if isComplete(removal) {
		return missing{}, nil
	}
	left := missing{count: max(1, int(removal.Status.DesiredNumberScheduled-removal.Status.NumberAvailable)), read: former.read}
	if !isObserved(removal) || left.count != former.count {
		return left, nil // while the number falls, thousands of pods and nodes need not be read
	}
	// The controller reports after each batch of pods, for which it takes 12 s by default.
	if pause := time.Duration(removal.Status.DesiredNumberScheduled) * time.Second / podsPerSecond; time.Since(former.read) < pause {
		return former, nil
	}
	left.read = time.Now()
	if left.reasons, err = waitingNodes(ctx, client, removal); err != nil {
		return missing{}, err
	}
	if len(left.reasons) == left.count { // each missing node has its pod
		left.down, err = extractDown(ctx, client, left.reasons)
	}
	return left, err
}

// explain returns the missing nodes with their reasons, after ctx has ended while their number
// was changing.
func explain(ctx context.Context, client kubernetes.Interface, namespace, name string, left missing) missing {
	if left.reasons != nil || left.count < 0 {
		return left
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
	defer cancel()
	removal, err := client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return left
	}
	if reasons, err := waitingNodes(ctx, client, removal); err == nil {
		left.reasons = reasons
	}
	return left
}

// isObserved reports whether the status of a DaemonSet belongs to its current spec.
func isObserved(removal *appsv1.DaemonSet) bool {
	return removal.Status.ObservedGeneration >= removal.Generation
}

// isComplete reports whether all pods of a DaemonSet are available: ready for minReadySeconds.
// Ready alone is not enough. The removal restarts kubelet, which then reports a pod as ready until
// the first result of its readiness probe (k8s.io/kubernetes/pkg/kubelet/prober).
func isComplete(removal *appsv1.DaemonSet) bool {
	return isObserved(removal) && removal.Status.NumberAvailable >= removal.Status.DesiredNumberScheduled
}

// missing are the nodes that are not clean.
type missing struct {
	count   int
	down    []string          // their kubelet does not report, so no pod can run there
	reasons map[string]string // of the others, by node
	read    time.Time         // when the pods were read
}

// err returns an error with the nodes that are up and their reasons.
func (m missing) err() error {
	if m.count < 0 {
		return errors.New("apiserver did not answer in time")
	}
	var nodes []string
	for node, reason := range m.reasons {
		nodes = append(nodes, node+": "+reason)
	}
	slices.Sort(nodes)
	return fmt.Errorf("the shim is still on %d of the nodes: %s", m.count, cmp.Or(abridge(nodes), "no reasons were reported"))
}

// abridge joins at most ten texts.
func abridge(texts []string) string {
	const most = 10
	if len(texts) > most {
		return fmt.Sprintf("%s; and %d more", strings.Join(texts[:most], "; "), len(texts)-most)
	}
	return strings.Join(texts, "; ")
}
