package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var (
	ready   = corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	pending = corev1.PodStatus{Phase: corev1.PodPending}
	failing = corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", Message: "kubelet is not healthy\nafter 60s"}},
	}}}
)

// removalOf returns the DaemonSet that removes the shim, with desired and available pods. All
// pods are ready, as kubelet may report them for a few seconds after its own restart.
func removalOf(desired, available int32) *appsv1.DaemonSet {
	removal := daemonSetOf("agent-remove", corev1.PodSpec{})
	removal.Generation = 1
	removal.Status = appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: desired, NumberReady: desired, NumberAvailable: available}
	return removal
}

// await runs AwaitRemoval with a limit of 5 minutes and returns its log.
func await(t *testing.T, client kubernetes.Interface) (*logtest.Hook, error) {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return hook, AwaitRemoval(ctx, client, namespace, "agent", log)
}

func hasRemoval(t *testing.T, client kubernetes.Interface) bool {
	t.Helper()
	_, err := client.AppsV1().DaemonSets(namespace).Get(t.Context(), "agent-remove", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// TestAwaitRemoval requires that AwaitRemoval waits until the last node is clean, and deletes
// the DaemonSet and the Secrets only then.
func TestAwaitRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unobserved := removalOf(0, 0)
		unobserved.Status.ObservedGeneration = 0
		client := fake.NewClientset(unobserved, configuration("secret", "agent"), configuration("another", "agent-2"),
			node("a", corev1.ConditionTrue), node("b", corev1.ConditionTrue))
		start := time.Now()
		go func() {
			for i, state := range []*appsv1.DaemonSet{removalOf(2, 0), removalOf(2, 1), removalOf(2, 2)} {
				time.Sleep(10 * time.Second)
				if !hasRemoval(t, client) || len(secretNames(t, client)) != 2 {
					t.Errorf("state %d: an object was deleted before the nodes are clean", i)
				}
				if _, err := client.AppsV1().DaemonSets(namespace).UpdateStatus(t.Context(), state, metav1.UpdateOptions{}); err != nil {
					t.Error(err)
				}
			}
		}()
		if _, err := await(t, client); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("took %s, want 30s", took)
		}
		if left := secretNames(t, client); hasRemoval(t, client) || len(left) != 1 || left[0] != "another" {
			t.Errorf("left %q (DaemonSet: %t), want the Secret of another release", left, hasRemoval(t, client))
		}
		if _, err := await(t, client); err != nil {
			t.Errorf("a second run: %v", err)
		}
	})
}

// TestAwaitRemovalWithNodesDown requires that a node that is down is named, and that the
// DaemonSet stays for it.
func TestAwaitRemovalWithNodesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		removal := removalOf(3, 2)
		lost := podOf(removal, "lost", corev1.PodSpec{}, pending)
		lost.Spec = corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"lost"}}},
			}}},
		}}}
		client := fake.NewClientset(removal, configuration("secret", "agent"),
			node("a", corev1.ConditionTrue), node("b", corev1.ConditionFalse), node("lost", corev1.ConditionUnknown),
			podOf(removal, "a", corev1.PodSpec{}, ready), podOf(removal, "b", corev1.PodSpec{}, ready), lost)
		hook, err := await(t, client)
		if err != nil {
			t.Fatal(err)
		}
		if !hasRemoval(t, client) || len(secretNames(t, client)) != 0 {
			t.Errorf("DaemonSet: %t, Secrets: %q, want the DaemonSet only", hasRemoval(t, client), secretNames(t, client))
		}
		last := hook.LastEntry()
		if last.Data["nodes"] != "lost" || !strings.Contains(last.Message, "kubectl --namespace image-cri-shim delete daemonset agent-remove") {
			t.Errorf("logged %q %v, want the node and the command", last.Message, last.Data)
		}
	})
}

// TestAwaitRemovalFails requires that a node that is up but not clean is an error with the
// node's reason, and that nothing is deleted.
func TestAwaitRemovalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		removal := removalOf(3, 1)
		client := fake.NewClientset(removal, configuration("secret", "agent"),
			node("a", corev1.ConditionTrue), node("b", corev1.ConditionFalse), node("lost", corev1.ConditionUnknown),
			podOf(removal, "a", corev1.PodSpec{}, ready), podOf(removal, "b", corev1.PodSpec{}, failing), podOf(removal, "lost", corev1.PodSpec{}, pending))
		_, err := await(t, client)
		if err == nil || !strings.Contains(err.Error(), "b: Error: kubelet is not healthy after 60s") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the reason of node b", err)
		}
		if !hasRemoval(t, client) || len(secretNames(t, client)) != 1 {
			t.Error("an object was deleted, although a node is not clean")
		}
	})
}

// TestAwaitRemovalRetries requires that an error of the apiserver is retried and, if it stays,
// reported.
func TestAwaitRemovalRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(removalOf(1, 1))
		failures := 3
		client.PrependReactor("get", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) {
			failures--
			return failures >= 0, nil, errors.New("apiserver failed")
		})
		if _, err := await(t, client); err != nil {
			t.Error(err)
		}
		failures = 1000
		if _, err := await(t, client); err == nil || !strings.Contains(err.Error(), "apiserver failed") {
			t.Errorf("error %v, want the apiserver's", err)
		}
	})
}

// TestAwaitRemovalReadsPodsRarely requires that the pods are not read while the number of
// missing nodes changes.
func TestAwaitRemovalReadsPodsRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		missing, pods := int32(100), 0
		client.PrependReactor("get", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) {
			missing--
			return true, removalOf(100, 100-missing), nil
		})
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			pods++
			return false, nil, nil
		})
		if _, err := await(t, client); err != nil {
			t.Fatal(err)
		}
		if pods > 0 {
			t.Errorf("read the pods %d times, want never", pods)
		}
	})
}

// TestAwaitRemovalOfAFleet requires that the pods of ten thousand nodes are seldom read while one
// node is not clean, and that the log stays short.
func TestAwaitRemovalOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fleet = 10000
		client := fake.NewClientset(podOf(removalOf(fleet, 0), "b", corev1.PodSpec{}, failing))
		gets, pods := int32(0), 0
		client.PrependReactor("get", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) {
			gets++
			return true, removalOf(fleet, min(100*gets, fleet-1)), nil
		})
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			pods++
			return false, nil, nil
		})
		hook, err := await(t, client)
		if err == nil || !strings.Contains(err.Error(), "b: Error: kubelet is not healthy after 60s") {
			t.Errorf("error %v, want the reason of node b", err)
		}
		if pods == 0 || pods > 6 {
			t.Errorf("read the pods %d times in the 100 s of one missing node, want at most 6", pods)
		}
		if lines := len(hook.Entries); lines > 30 {
			t.Errorf("logged %d lines in 5 minutes, want at most 30", lines)
		}
	})
}

// TestAwaitRemovalExplainsTheEnd requires that the error names nodes with their reasons also if
// their number was changing until the end.
func TestAwaitRemovalExplainsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(podOf(removalOf(1000, 0), "b", corev1.PodSpec{}, failing))
		gets := int32(0)
		client.PrependReactor("get", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) {
			gets++
			return true, removalOf(1000, gets), nil
		})
		if _, err := await(t, client); err == nil || !strings.Contains(err.Error(), "b: Error: kubelet is not healthy after 60s") {
			t.Errorf("error %v, want the reason of node b", err)
		}
	})
}
