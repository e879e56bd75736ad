package scale

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRemoval uninstalls the release. The hook waits for all nodes, within the chart's own
// timeout and that of Helm, and leaves neither DaemonSets, pods nor Secrets.
func TestRemoval(t *testing.T) {
	ctx := testContext(t)
	install(ctx, t, goodValues())
	measure(ctx, t, "helm uninstall", func() { uninstall(ctx, t) })
	sets, err := shared.Client.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range sets.Items {
		t.Errorf("the DaemonSet %s is still there", set.Name)
	}
	if secrets := configurations(ctx, t); len(secrets) > 0 {
		t.Errorf("the Secrets %v are still there", secrets)
	}
}
