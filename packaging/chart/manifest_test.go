package chart

import (
	"os"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRemoveManifest requires that packaging/remove.yaml runs the same pod as the uninstallation
// of a release, in a namespace of its own that permits it.
func TestRemoveManifest(t *testing.T) {
	manifest := removeManifest(t)
	namespace := find[*corev1.Namespace](t, manifest.objects, "Namespace/image-cri-shim-removal")
	removal := find[*appsv1.DaemonSet](t, manifest.objects, "DaemonSet/image-cri-shim-remove")
	if removal.Namespace != namespace.Name || namespace.Labels["pod-security.kubernetes.io/enforce"] != "privileged" {
		t.Errorf("DaemonSet in %s, namespace %v", removal.Namespace, namespace.ObjectMeta)
	}
	want := find[*appsv1.DaemonSet](t, render(t, "").hooks, "DaemonSet/test-image-cri-shim-remove")
	want.Spec.Template.Spec.Containers[0].Image = "IMAGE"
	if !reflect.DeepEqual(removal.Spec.Template.Spec, want.Spec.Template.Spec) || !reflect.DeepEqual(removal.Spec.UpdateStrategy, want.Spec.UpdateStrategy) {
		t.Errorf("the DaemonSet differs from the chart's:\n%+v\n%+v", removal.Spec, want.Spec)
	}
	for key, value := range removal.Spec.Selector.MatchLabels {
		if removal.Spec.Template.Labels[key] != value {
			t.Errorf("the selector %s=%s does not match the pod", key, value)
		}
	}
}

// removeManifest returns the objects of packaging/remove.yaml.
func removeManifest(t *testing.T) release {
	t.Helper()
	content, err := os.ReadFile("../remove.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifest := release{objects: make(map[string]metav1.Object)}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		manifest.add(t, "remove.yaml", document)
	}
	return manifest
}
