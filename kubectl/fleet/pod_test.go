package fleet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestNodeOf requires what a pod of a real cluster shows.
func TestNodeOf(t *testing.T) {
	n := nodeOf(recordedPod(t, "refused"))
	if n.Node != "node2" || n.Namespace != "image-cri-shim" || n.Release != "shim" || n.Component != "agent" ||
		n.Version != "v0.1.0" || n.Configuration != "7ae1bf0515+registry-login" || n.Restarts != 1 || n.Created.IsZero() || n.ReasonTime == nil {
		t.Errorf("found %+v", n)
	}
	if n := nodeOf(recordedPod(t, "unready")); n.Configuration != "live:shim-image-cri-shim-live+registry-login" {
		t.Errorf("the configuration of a live release is %q", n.Configuration)
	}
	if n := nodeOf(recordedPod(t, "removed")); n.Component != removal || n.Configuration != "" {
		t.Errorf("found %+v, want no configuration", n)
	}
	if n := nodeOf(&corev1.Pod{}); n.State != Pending || n.Ready {
		t.Errorf("an empty pod is %+v", n)
	}
}

// TestInjectedContainer requires that a container that the chart has not made changes nothing.
func TestInjectedContainer(t *testing.T) {
	pod := recordedPod(t, "refused")
	want := nodeOf(pod)
	pod.Spec.Containers = append([]corev1.Container{{Name: "proxy", Image: "proxy:1"}}, pod.Spec.Containers...)
	pod.Status.ContainerStatuses = append([]corev1.ContainerStatus{{Name: "proxy", RestartCount: 9}}, pod.Status.ContainerStatuses...)
	if got := nodeOf(pod); got.Version != want.Version || got.State != want.State || got.Restarts != want.Restarts {
		t.Errorf("found %+v, want %+v", got, want)
	}
}

func TestVersionOf(t *testing.T) {
	for image, want := range map[string]string{
		"hub:5000/tools/agent:v1.2.3":              "v1.2.3",
		"hub:5000/tools/agent":                     "latest",
		"hub/agent@sha256:0123456789abcdef":        "sha256:0123456789ab",
		"hub/agent:v1.2.3@sha256:0123456789abcdef": "v1.2.3",
		"hub/agent@sha256:01":                      "sha256:01",
		"hub/agent@":                               "latest",
		"":                                         "latest",
	} {
		if got := versionOf(image); got != want {
			t.Errorf("%q has version %q, want %q", image, got, want)
		}
	}
}

func TestConfigurationOf(t *testing.T) {
	for _, test := range []struct {
		secrets, arguments []string
		want               string
	}{
		{[]string{"image-cri-shim-0123456789"}, nil, "0123456789"},
		{[]string{"shim-config-1"}, nil, "shim-config-1"},
		{[]string{"my-image-cri-shim"}, nil, "my-image-cri-shim"},
		{[]string{"image-cri-shim-0123456789", "logins"}, nil, "0123456789+logins"},
		{[]string{"logins"}, []string{"--live=secret/shim-live"}, "live:shim-live+logins"},
		{[]string{"image-cri-shim-0123456789"}, []string{"--from-sealos-configmap"}, "0123456789+sealos"},
		{nil, nil, ""},
	} {
		pod := &corev1.Pod{}
		projected := &corev1.ProjectedVolumeSource{}
		for _, name := range test.secrets {
			projected.Sources = append(projected.Sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
		}
		pod.Spec.Volumes = []corev1.Volume{{Name: "host"}, {Name: "config", VolumeSource: corev1.VolumeSource{Projected: projected}}}
		if got := configurationOf(pod, test.arguments); got != test.want {
			t.Errorf("%v %v: configuration %q, want %q", test.secrets, test.arguments, got, test.want)
		}
	}
}
