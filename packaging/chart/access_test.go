package chart

import (
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestLive requires that agents may read exactly their Secret, and that a change of it does
// not change the DaemonSet.
func TestLive(t *testing.T) {
	before, after := render(t, "live: true\nconfig: {address: 'http://one'}"), render(t, "live: true\nconfig: {address: 'http://two'}")
	if !reflect.DeepEqual(before.agent(t), after.agent(t)) {
		t.Error("a change of the configuration changed the DaemonSet")
	}
	secret := before.secret(t)
	if secret.Name != "test-image-cri-shim-live" || *secret.Immutable || secret.Annotations["helm.sh/resource-policy"] != "" || after.config(t) != "address: http://two\n" {
		t.Errorf("Secret %+v with %q", secret.ObjectMeta, after.config(t))
	}
	wantAccess(t, before, "--live=secret/test-image-cri-shim-live", "shims [get list watch] [secrets] [test-image-cri-shim-live]")
	if got := sources(before.agent(t)); got != nil {
		t.Errorf("the pod mounts %v, want no Secret", got)
	}

	existing := render(t, "live: true\nexistingSecret: mine\nauthSecret: login")
	wantAccess(t, existing, "--live=secret/mine", "shims [get list watch] [secrets] [mine]")
	if got := sources(existing.agent(t)); len(got) != 1 || got[0].Secret.Name != "login" {
		t.Errorf("the pod mounts %v, want the logins", got)
	}
}

// TestSealosConfigMap requires that agents may read exactly sealos' ConfigMap.
func TestSealosConfigMap(t *testing.T) {
	rendered := render(t, "compatibility: {sealosConfigMap: true}\nconfig: {metrics: '127.0.0.1:9465'}")
	wantAccess(t, rendered, "--from-sealos-configmap", "kube-system [get list watch] [configmaps] [image-cri-shim]")
	if got := sources(rendered.agent(t)); len(got) != 1 || got[0].Secret.Name != rendered.secret(t).Name {
		t.Errorf("the pod mounts %v, want the configuration", got)
	}
}

// wantAccess requires that the agent has an argument, a token and one rule.
func wantAccess(t *testing.T, rendered release, argument, rule string) {
	t.Helper()
	pod := rendered.agent(t).Spec.Template.Spec
	if args := pod.Containers[0].Args; !slices.Contains(args, argument) || !*pod.AutomountServiceAccountToken {
		t.Errorf("arguments %q, token %t, want %s", args, *pod.AutomountServiceAccountToken, argument)
	}
	find[*corev1.ServiceAccount](t, rendered.objects, "ServiceAccount/"+pod.ServiceAccountName)
	if got := roles(rendered.objects, pod.ServiceAccountName); !slices.Equal(got, []string{rule}) {
		t.Errorf("the agent may %q, want %q", got, rule)
	}
}

// TestClaim requires that two releases have an object with the same name that is not in a
// namespace, so that Helm refuses the second one.
func TestClaim(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		rendered, err := tryRender(t, options{name: name, values: "fullnameOverride: " + name})
		if err != nil {
			t.Fatal(err)
		}
		if rules := find[*rbacv1.ClusterRole](t, rendered.objects, "ClusterRole/image-cri-shim").Rules; len(rules) != 0 {
			t.Errorf("the claim permits %v", rules)
		}
	}
}
