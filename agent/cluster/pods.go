package cluster

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

// eachPod calls visit for each pod of a DaemonSet. It reads them in pages, so that the memory
// does not grow with the cluster.
func eachPod(ctx context.Context, client kubernetes.Interface, owner *appsv1.DaemonSet, visit func(*corev1.Pod) error) error {
	pods := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Pods(owner.Namespace).List(ctx, options)
	})
	selector := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(owner.Spec.Selector)}
	err := pods.EachListItem(ctx, selector, func(object runtime.Object) error {
		pod, ok := object.(*corev1.Pod)
		if !ok || !metav1.IsControlledBy(pod, owner) {
			return nil
		}
		return visit(pod)
	})
	if err != nil {
		return fmt.Errorf("list the pods of DaemonSet %s: %w", owner.Name, err)
	}
	return nil
}

// waitingNodes returns the nodes on which the pod of a DaemonSet is not ready, with the reasons.
func waitingNodes(ctx context.Context, client kubernetes.Interface, owner *appsv1.DaemonSet) (map[string]string, error) {
	waiting := make(map[string]string)
	err := eachPod(ctx, client, owner, func(pod *corev1.Pod) error {
		if node := nodeOf(pod); !isReady(pod) && pod.DeletionTimestamp == nil {
			waiting[node] = reasonOf(pod)
		}
		return nil
	})
	return waiting, err
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// nodeOf returns the node of a DaemonSet's pod. Before the pod is scheduled, its affinity
// names the node.
func nodeOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" {
		return pod.Spec.NodeName
	}
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.NodeAffinity != nil && affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, field := range term.MatchFields {
				if field.Key == metav1.ObjectNameField && len(field.Values) == 1 {
					return field.Values[0]
				}
			}
		}
	}
	return "not scheduled: " + pod.Name
}

// reasonOf returns why a pod is not ready, from the message of its container if there is one.
func reasonOf(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			switch {
			case state.Terminated != nil:
				return line(state.Terminated.Reason, state.Terminated.Message)
			case state.Waiting != nil && state.Waiting.Reason != "CrashLoopBackOff":
				return line(state.Waiting.Reason, state.Waiting.Message)
			}
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status != corev1.ConditionTrue {
			return line(condition.Reason, condition.Message)
		}
	}
	return "the removal is not complete; see kubectl --namespace " + pod.Namespace + " logs " + pod.Name
}

// line returns a reason and its message on one line of at most 300 bytes.
func line(reason, message string) string {
	const most = 300
	text := strings.Join(strings.Fields(reason+": "+message), " ")
	text = strings.TrimSuffix(text, ":")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
