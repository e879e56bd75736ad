package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

// extractDown removes the nodes that are down from waiting and returns their names. A node is down
// if its Ready condition is Unknown, because its kubelet does not report.
func extractDown(ctx context.Context, client kubernetes.Interface, waiting map[string]string) ([]string, error) {
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
