package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

// waitingPods returns the nodes of the DaemonSet's pods that are not ready, with the reasons.
func waitingPods(ctx context.Context, client kubernetes.Interface, removal *appsv1.DaemonSet) (map[string]string, error) {
	waiting := make(map[string]string)
	err := eachPod(ctx, client, removal, func(pod *corev1.Pod) error {
		if node := nodeOf(pod); !isReady(pod) && pod.DeletionTimestamp == nil {
			waiting[node] = reasonOf(pod)
		}
		return nil
	})
	return waiting, err
}

// takeDown removes the nodes that are down from waiting and returns them. A node is down if its
// Ready condition is Unknown: its kubelet does not report.
func takeDown(ctx context.Context, client kubernetes.Interface, waiting map[string]string) ([]string, error) {
	var down []string
	nodes := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Nodes().List(ctx, options)
	})
	err := nodes.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		node, ok := object.(*corev1.Node)
		if !ok {
			return nil
		}
		if _, waits := waiting[node.Name]; waits && isDown(node) {
			down = append(down, node.Name)
			delete(waiting, node.Name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	slices.Sort(down)
	return down, nil
}

func isDown(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionUnknown
		}
	}
	return true // the kubelet of a new node has not reported yet
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
