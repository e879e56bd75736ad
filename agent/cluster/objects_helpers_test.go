package cluster

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const namespace = "image-cri-shim"

func meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("uid-" + name), Labels: labels}
}

// daemonSetOf returns a DaemonSet whose pods have the label component=name.
func daemonSetOf(name string, template corev1.PodSpec) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: meta(name, nil),
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"component": name}},
			Template: corev1.PodTemplateSpec{Spec: template},
		},
	}
}

// ownedBy returns the metadata of an object that a DaemonSet has created.
func ownedBy(owner *appsv1.DaemonSet, name string) metav1.ObjectMeta {
	object := meta(name, owner.Spec.Selector.MatchLabels)
	object.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}
	return object
}

// podOf returns the pod of a DaemonSet on a node.
func podOf(owner *appsv1.DaemonSet, node string, spec corev1.PodSpec, status corev1.PodStatus) *corev1.Pod {
	spec.NodeName = node
	return &corev1.Pod{ObjectMeta: ownedBy(owner, owner.Name+"-"+node), Spec: spec, Status: status}
}

// mounting returns a pod with a projected volume of the Secrets.
func mounting(secrets ...string) corev1.PodSpec {
	projected := &corev1.ProjectedVolumeSource{}
	for _, secret := range secrets {
		source := &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}
		projected.Sources = append(projected.Sources, corev1.VolumeProjection{Secret: source})
	}
	return corev1.PodSpec{Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{Projected: projected}}}}
}

// revisionOf returns a ControllerRevision as the controller of DaemonSets writes it.
func revisionOf(t *testing.T, owner *appsv1.DaemonSet, name string, template corev1.PodSpec) *appsv1.ControllerRevision {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": corev1.PodTemplateSpec{Spec: template}}})
	if err != nil {
		t.Fatal(err)
	}
	return &appsv1.ControllerRevision{ObjectMeta: ownedBy(owner, name), Data: runtime.RawExtension{Raw: patch}}
}

// configuration returns a Secret that the chart names by its content.
func configuration(name, daemonSet string) *corev1.Secret {
	immutable := true
	return &corev1.Secret{ObjectMeta: meta(name, map[string]string{ConfigurationLabel: daemonSet}), Immutable: &immutable}
}

// node returns a node with this status of its Ready condition.
func node(name string, ready corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
	}
}

// secretNames returns the Secrets that exist.
func secretNames(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	secrets, err := client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, secret := range secrets.Items {
		names = append(names, secret.Name)
	}
	return names
}
