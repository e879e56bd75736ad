package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
)

// deleteSecrets deletes the Secrets with configurations of a DaemonSet, except for the names in
// used, and returns the deleted names.
func deleteSecrets(ctx context.Context, client kubernetes.Interface, namespace, daemonSet string, used map[string]bool) ([]string, error) {
	secrets, err := client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{ConfigurationLabel: daemonSet}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list the Secrets of %s: %w", daemonSet, err)
	}
	var deleted []string
	for _, secret := range secrets.Items {
		if used[secret.Name] || !hasConfiguration(secret) {
			continue
		}
		err := client.CoreV1().Secrets(namespace).Delete(ctx, secret.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &secret.UID},
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			continue // another hook deleted or replaced it
		}
		if err != nil {
			return deleted, fmt.Errorf("delete Secret %s: %w", secret.Name, err)
		}
		deleted = append(deleted, secret.Name)
	}
	return deleted, nil
}

// hasConfiguration reports whether a Secret is one that the chart names by its content. The chart
// makes those immutable, so a mutable Secret with the label is not the chart's.
func hasConfiguration(secret corev1.Secret) bool {
	return secret.Immutable != nil && *secret.Immutable
}
