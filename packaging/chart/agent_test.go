package chart

import (
	"reflect"
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestAgent requires that the agent's DaemonSet runs on every node, on the host, one node after
// the other, and without the apiserver.
func TestAgent(t *testing.T) {
	rendered := render(t, "config: {address: 'http://hub'}\nimage: {repository: hub/agent, tag: v1, pullSecrets: [pull]}\nextraArgs: [--interval=45s]")
	agent := rendered.agent(t)
	pod, container := agent.Spec.Template.Spec, agent.Spec.Template.Spec.Containers[0]
	wantHostPod(t, agent)
	if update := agent.Spec.UpdateStrategy; update.Type != appsv1.RollingUpdateDaemonSetStrategyType || update.RollingUpdate.MaxUnavailable.IntValue() != 1 || agent.Spec.MinReadySeconds != 30 {
		t.Errorf("update strategy %+v, minReadySeconds %d, want one node after the other, 30s each", update, agent.Spec.MinReadySeconds)
	}
	if want := []string{"agent", "--jitter=60s", "--registries=was-reachable", "--config=/config", "--interval=45s"}; !slices.Equal(container.Args, want) {
		t.Errorf("arguments %q, want %q", container.Args, want)
	}
	if container.Image != "hub/agent:v1" || pod.ImagePullSecrets[0].Name != "pull" {
		t.Errorf("image %s, pull secrets %v", container.Image, pod.ImagePullSecrets)
	}
	if want := []corev1.NodeSelectorRequirement{
		{Key: "kubernetes.io/os", Operator: "In", Values: []string{"linux"}},
		{Key: "kubernetes.io/arch", Operator: "In", Values: []string{"amd64", "arm64"}},
		{Key: "image-cri-shim.io/enabled", Operator: "NotIn", Values: []string{"false"}},
	}; !reflect.DeepEqual(nodes(agent), want) {
		t.Errorf("nodes %v, want %v", nodes(agent), want)
	}
	// Without a name, the pod would keep that of a former release with live: Kubernetes has a
	// second field for it.
	if rules := roles(rendered.objects, pod.ServiceAccountName); rules != nil || pod.ServiceAccountName != "default" {
		t.Errorf("service account %q with %q, want default, which permits nothing", pod.ServiceAccountName, rules)
	}
}

// wantHostPod requires the properties that a pod which works on the host needs.
func wantHostPod(t *testing.T, set *appsv1.DaemonSet) {
	t.Helper()
	pod, container := set.Spec.Template.Spec, set.Spec.Template.Spec.Containers[0]
	if !pod.HostPID || !pod.HostNetwork || pod.DNSPolicy != corev1.DNSDefault || !*container.SecurityContext.Privileged {
		t.Errorf("%s: hostPID %t, hostNetwork %t, dnsPolicy %s", set.Name, pod.HostPID, pod.HostNetwork, pod.DNSPolicy)
	}
	if *pod.AutomountServiceAccountToken || pod.PriorityClassName != "system-node-critical" || !slices.Equal(pod.Tolerations, []corev1.Toleration{{Operator: "Exists"}}) {
		t.Errorf("%s: token %t, priority %s, tolerations %v", set.Name, *pod.AutomountServiceAccountToken, pod.PriorityClassName, pod.Tolerations)
	}
	mount := container.VolumeMounts[0]
	if mount.MountPath != "/host" || *mount.MountPropagation != corev1.MountPropagationHostToContainer || pod.Volumes[0].Name != mount.Name || pod.Volumes[0].HostPath.Path != "/" {
		t.Errorf("%s: mount %+v, volume %+v", set.Name, mount, pod.Volumes[0])
	}
	if probe := container.ReadinessProbe.Exec.Command; !slices.Equal(probe, []string{"/image-cri-shim-agent", "status", "--ready"}) || container.LivenessProbe != nil {
		t.Errorf("%s: readiness probe %q, liveness probe %v", set.Name, probe, container.LivenessProbe)
	}
	if container.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: message policy %s, resources %v", set.Name, container.TerminationMessagePolicy, container.Resources)
	}
}

// nodes returns the requirements for nodes of a DaemonSet.
func nodes(set *appsv1.DaemonSet) []corev1.NodeSelectorRequirement {
	return set.Spec.Template.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions
}

// TestWaves requires that waves limit the agent, but not the removal.
func TestWaves(t *testing.T) {
	rendered := render(t, "waves: [canary, 2]")
	want := corev1.NodeSelectorRequirement{Key: "image-cri-shim.io/wave", Operator: "In", Values: []string{"canary", "2"}}
	if got := nodes(rendered.agent(t)); !reflect.DeepEqual(got[len(got)-1], want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
	if got := nodes(rendered.removal(t)); len(got) != 3 {
		t.Errorf("nodes of the removal %v, want all", got)
	}
}

// TestRemove requires that the release has a DaemonSet that removes the shim from labeled nodes.
func TestRemove(t *testing.T) {
	removal := render(t, "live: true\nauthSecret: login").removal(t)
	wantHostPod(t, removal)
	if got, want := nodes(removal)[2], (corev1.NodeSelectorRequirement{Key: "image-cri-shim.io/enabled", Operator: "In", Values: []string{"false"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
	pod := removal.Spec.Template.Spec
	if args := pod.Containers[0].Args; !slices.Equal(args, []string{"remove"}) || len(pod.Volumes) != 1 || pod.ServiceAccountName != "" {
		t.Errorf("arguments %q, volumes %v, service account %q", args, pod.Volumes, pod.ServiceAccountName)
	}
}

// TestTemplateIsStable requires that neither the same values nor a new version of the chart
// with the same image change a pod's template, which would roll out all nodes.
func TestTemplateIsStable(t *testing.T) {
	values := "config: {address: 'http://hub', match: [docker.io], cache: {imageCacheSize: 10}}\nimage: {repository: hub/agent, tag: v1}"
	before := render(t, values)
	for name, with := range map[string]options{
		"same values": {values: values},
		"new chart": {values: values, change: func(c *chart.Chart) {
			c.Metadata.Version, c.Metadata.AppVersion = "9.9.9", "9.9.9"
		}},
	} {
		after, err := tryRender(t, with)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before.agent(t).Spec, after.agent(t).Spec) || !reflect.DeepEqual(before.removal(t).Spec, after.removal(t).Spec) {
			t.Errorf("%s: the spec of a DaemonSet changed", name)
		}
	}
}
