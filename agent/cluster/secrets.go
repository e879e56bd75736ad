package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

// deleteSecrets deletes the Secrets with configurations of a DaemonSet, except for the names in
// used, and returns the deleted names.
func deleteSecrets(ctx context.Context, client kubernetes.Interface, namespace, daemonSet string, used map[string]bool) ([]string, error) {
	unused := make(map[string]types.UID)
	secrets := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Secrets(namespace).List(ctx, options)
	})
	secrets.PageSize, secrets.PageBufferSize = 20, 1 // a Secret may have 1 MiB
	selector := metav1.ListOptions{LabelSelector: labels.Set{ConfigurationLabel: daemonSet}.String()}
	err := secrets.EachListItem(ctx, selector, func(object runtime.Object) error {
		if secret, ok := object.(*corev1.Secret); ok && !used[secret.Name] && hasConfiguration(secret) {
			unused[secret.Name] = secret.UID
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the Secrets of %s: %w", daemonSet, err)
	}
	var deleted []string
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		uid := unused[name]
		err := client.CoreV1().Secrets(namespace).Delete(ctx, name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid},
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			continue // another hook deleted or replaced it
		}
		if err != nil {
			return deleted, fmt.Errorf("delete Secret %s: %w", name, err)
		}
		deleted = append(deleted, name)
	}
	return deleted, nil
}

// hasConfiguration reports whether a Secret is one that the chart names by its content. The chart
// makes those immutable, so a mutable Secret with the label is not the chart's.
func hasConfiguration(secret *corev1.Secret) bool {
	return secret.Immutable != nil && *secret.Immutable
}
