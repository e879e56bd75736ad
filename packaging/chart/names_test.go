package chart

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// TestNames requires that every release name that Helm permits gives valid and different names.
func TestNames(t *testing.T) {
	for _, with := range []options{
		{name: "image-cri-shim"},
		{name: "a"},
		{name: strings.Repeat("r", 53)},
		{name: strings.Repeat("r", 23) + ".x"},
		{name: strings.Repeat("r", 38) + "-.x" + strings.Repeat("r", 12)},
		{name: "test", values: "fullnameOverride: " + strings.Repeat("o", 40)},
	} {
		with.values += "\nauthSecret: login"
		rendered, err := tryRender(t, with)
		if err != nil {
			t.Errorf("%s: %v", with.name, err)
			continue
		}
		for _, objects := range []map[string]metav1.Object{rendered.objects, rendered.hooks} {
			for key := range objects {
				_, name, _ := strings.Cut(key, "/")
				if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 || len(name) > 63 {
					t.Errorf("%s: %s has %d characters: %q", with.name, key, len(name), problems)
				}
			}
		}
		if len(rendered.objects) != 4 || len(rendered.hooks) != 11 {
			t.Errorf("%s: %d objects and %d hooks, want 4 and 11", with.name, len(rendered.objects), len(rendered.hooks))
		}
	}
	if rendered := render(t, "fullnameOverride: shim"); rendered.objects["DaemonSet/shim"] == nil || rendered.objects["DaemonSet/shim-remove"] == nil {
		t.Error("fullnameOverride is not the name of the DaemonSet")
	}
}

// TestNotes requires that the notes name the commands for this release.
func TestNotes(t *testing.T) {
	notes := render(t, "waves: [canary, 2]").notes
	for _, want := range []string{
		"kubectl --namespace shims rollout status daemonset/test-image-cri-shim --timeout 5m",
		"kubectl --namespace shims exec POD -- /image-cri-shim-agent status",
		"/opt/image-cri-shim/current/image-cri-shim doctor",
		"image-cri-shim.io/wave in canary, 2",
		"kubectl label node NODE image-cri-shim.io/enabled=false",
		"kubectl label namespace shims pod-security.kubernetes.io/enforce=privileged",
		"The configuration is empty",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	if notes := render(t, "existingSecret: mine").notes; strings.Contains(notes, "is empty") {
		t.Errorf("the notes call the configuration of existingSecret empty:\n%s", notes)
	}
	if notes := render(t, "existingSecret: mine\nmetrics: {enabled: true}").notes; !strings.Contains(notes, "Secret mine has:\n\n  metrics: unix:///run/image-cri-shim/metrics.sock\n\nIf") {
		t.Errorf("the notes lack the key metrics:\n%s", notes)
	}
}
