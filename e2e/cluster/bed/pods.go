package bed

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pod returns a pod with a container of an image, on a node or on one that the scheduler chooses.
func Pod(name, image string, node *Node) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec: corev1.PodSpec{
			Containers:                    []corev1.Container{{Name: "main", Image: image, ImagePullPolicy: corev1.PullIfNotPresent}},
			TerminationGracePeriodSeconds: new(int64),
		},
	}
	if node != nil {
		pod.Spec.NodeName = node.Name
	}
	return pod
}

// Create creates pods.
func (c *Cluster) Create(ctx context.Context, pods ...*corev1.Pod) error {
	for _, pod := range pods {
		if _, err := c.Client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create the pod %s: %w", pod.Name, err)
		}
	}
	return nil
}

// AwaitRunning returns once all containers of the pods are ready.
func (c *Cluster) AwaitRunning(ctx context.Context, pods ...*corev1.Pod) error {
	for _, pod := range pods {
		if err := Await(ctx, func(ctx context.Context) error {
			current, err := c.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return CheckRunning(current)
		}); err != nil {
			return fmt.Errorf("the pod %s: %w", pod.Name, err)
		}
	}
	return nil
}

// CheckRunning returns the reason why a pod is not ready, or nil if it is.
func CheckRunning(pod *corev1.Pod) error {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	problems := []error{fmt.Errorf("the phase is %s %s %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)}
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil {
			problems = append(problems, fmt.Errorf("%s waits: %s: %s", container.Name, waiting.Reason, waiting.Message))
		}
		if ended := container.LastTerminationState.Terminated; ended != nil {
			problems = append(problems, fmt.Errorf("%s ended with code %d: %s: %s", container.Name, ended.ExitCode, ended.Reason, ended.Message))
		}
	}
	return errors.Join(problems...)
}

// Delete deletes pods and returns once they are gone.
func (c *Cluster) Delete(ctx context.Context, pods ...*corev1.Pod) error {
	for _, pod := range pods {
		if err := ignoreNotFound(c.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})); err != nil {
			return fmt.Errorf("delete the pod %s: %w", pod.Name, err)
		}
	}
	for _, pod := range pods {
		if err := Await(ctx, func(ctx context.Context) error {
			_, err := c.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
			if err == nil {
				return errors.New("it still exists")
			}
			return ignoreNotFound(err)
		}); err != nil {
			return fmt.Errorf("delete the pod %s: %w", pod.Name, err)
		}
	}
	return nil
}
