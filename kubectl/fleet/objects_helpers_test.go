package fleet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// recorded reads an object from testdata. The files are what kubelet 1.37 and the apiserver
// wrote in the tests of e2e/cluster, which write them to $PLUGIN_PODS.
func recorded[T any](t *testing.T, name string) T {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var object T
	if err := json.Unmarshal(content, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func recordedPod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return new(recorded[corev1.Pod](t, name))
}

// on returns a copy of a pod with another name, on a node.
func on(pod *corev1.Pod, node, name string) corev1.Pod {
	c := *pod.DeepCopy()
	c.Spec.NodeName, c.Name, c.UID = node, name, types.UID(name)
	return c
}
