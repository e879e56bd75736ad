package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Prune deletes the Secrets with configurations of a DaemonSet that are not used any more, and
// returns their names. Used are keep, and the Secrets that the DaemonSet, one of its
// ControllerRevisions or one of its pods names. If any of them can't be read, Prune deletes
// nothing.
func Prune(ctx context.Context, client kubernetes.Interface, namespace, daemonSet, keep string) ([]string, error) {
	owner, err := client.AppsV1().DaemonSets(namespace).Get(ctx, daemonSet, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read DaemonSet %s/%s: %w", namespace, daemonSet, err)
	}
	used := map[string]bool{keep: true}
	addSecrets(used, owner.Spec.Template.Spec)
	if err := addRevisions(ctx, client, owner, used); err != nil {
		return nil, err
	}
	err = eachPod(ctx, client, owner, func(pod *corev1.Pod) error {
		addSecrets(used, pod.Spec)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return deleteSecrets(ctx, client, namespace, daemonSet, used)
}

// addRevisions adds the Secrets of the templates to which a rollback may return.
func addRevisions(ctx context.Context, client kubernetes.Interface, owner *appsv1.DaemonSet, used map[string]bool) error {
	revisions, err := client.AppsV1().ControllerRevisions(owner.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: metav1.FormatLabelSelector(owner.Spec.Selector),
	})
	if err != nil {
		return fmt.Errorf("list the ControllerRevisions of DaemonSet %s: %w", owner.Name, err)
	}
	for _, revision := range revisions.Items {
		if !metav1.IsControlledBy(&revision, owner) {
			continue
		}
		var patch struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		}
		if err := json.Unmarshal(revision.Data.Raw, &patch); err != nil {
			return fmt.Errorf("read ControllerRevision %s: %w", revision.Name, err)
		}
		addSecrets(used, patch.Spec.Template.Spec)
	}
	return nil
}

// addSecrets adds the names of the Secrets that the volumes of a pod name.
func addSecrets(used map[string]bool, pod corev1.PodSpec) {
	for _, volume := range pod.Volumes {
		if volume.Secret != nil {
			used[volume.Secret.SecretName] = true
		}
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil {
				used[source.Secret.Name] = true
			}
		}
	}
}
