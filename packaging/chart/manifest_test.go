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
	values := "image: {repository: image, pullSecrets: [" + removePullSecret + "]}"
	want := find[*appsv1.DaemonSet](t, render(t, values).hooks, "DaemonSet/test-image-cri-shim-remove")
	want.Spec.Template.Spec.Containers[0].Image = "IMAGE"
	if !reflect.DeepEqual(removal.Spec.Template.Spec, want.Spec.Template.Spec) || !reflect.DeepEqual(removal.Spec.UpdateStrategy, want.Spec.UpdateStrategy) {
		t.Errorf("the DaemonSet differs from the chart's:\n%+v\n%+v", removal.Spec, want.Spec)
	}
	wantProbedRemoval(t, removal)
	for key, value := range removal.Spec.Selector.MatchLabels {
		if removal.Spec.Template.Labels[key] != value {
			t.Errorf("the selector %s=%s does not match the pod", key, value)
		}
	}
}

// removePullSecret is the Secret for the pull of the image in packaging/remove.yaml.
const removePullSecret = "image-cri-shim-pull"

// TestRemoveManifestSteps requires that the steps of packaging/remove.yaml create the Secret that
// its pods use, in their namespace and before the wait for them, and that the wait has a limit.
func TestRemoveManifestSteps(t *testing.T) {
	content, err := os.ReadFile("../remove.yaml")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(content), "\napiVersion:")
	steps := strings.Join(strings.Fields(strings.NewReplacer("#", "", "\\\n", "").Replace(comment)), " ")
	for _, want := range []string{
		"kubectl apply --filename remove.yaml",
		"kubectl --namespace image-cri-shim-removal create secret generic " + removePullSecret + " --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=",
		"kubectl --namespace image-cri-shim-removal rollout status daemonset/image-cri-shim-remove --timeout ",
		"kubectl delete --filename remove.yaml",
	} {
		_, rest, found := strings.Cut(steps, want)
		if !found {
			t.Fatalf("the steps lack %q, or have it too early:\n%s", want, comment)
		}
		steps = rest
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
