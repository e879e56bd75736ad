package chart

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestMetrics requires that metrics.enabled opens a port of the agent, adds the shim's address to
// the configuration, and changes nothing else.
func TestMetrics(t *testing.T) {
	const values = "config: {address: 'http://hub'}\nextraArgs: [--interval=45s]\n"
	before, after := render(t, values), render(t, values+"metrics: {enabled: true, port: 19466}")
	if got, want := after.config(t), "address: http://hub\nmetrics: unix:///run/image-cri-shim/metrics.sock\n"; got != want {
		t.Errorf("configuration %q, want %q", got, want)
	}
	container := after.agent(t).Spec.Template.Spec.Containers[0]
	if want := []corev1.ContainerPort{{Name: "metrics", ContainerPort: 19466}}; !reflect.DeepEqual(container.Ports, want) {
		t.Errorf("ports %+v, want %+v", container.Ports, want)
	}
	for ip, want := range map[string]string{"10.0.0.5": "--metrics=[10.0.0.5]:19466", "fd00::5": "--metrics=[fd00::5]:19466"} {
		if args := expand(container, ip); args[len(args)-2] != want || args[len(args)-1] != "--interval=45s" {
			t.Errorf("arguments %q, want %s before --interval", args, want)
		}
	}
	expected := before.agent(t)
	pod := &expected.Spec.Template.Spec
	pod.Containers[0].Env, pod.Containers[0].Ports, pod.Containers[0].Args = container.Env, container.Ports, container.Args
	sources(expected)[0].Secret.Name = after.secret(t).Name
	if !reflect.DeepEqual(expected.Spec, after.agent(t).Spec) {
		t.Error("more than the port and the configuration changed in the agent")
	}
	if !reflect.DeepEqual(before.removal(t).Spec, after.removal(t).Spec) {
		t.Error("the DaemonSet that removes the shim changed")
	}
	if len(before.objects) != len(after.objects) {
		t.Errorf("found the objects %v", slices.Sorted(maps.Keys(after.objects)))
	}
}

// TestMetricsAreOff requires that the chart opens no port by default, and with the values of a
// chart that had no metrics.
func TestMetricsAreOff(t *testing.T) {
	for _, values := range []string{"", "metrics: null", "metrics: {podMonitor: {enabled: true}}", "metrics: {podMonitor: null}"} {
		rendered := render(t, values)
		if container := rendered.agent(t).Spec.Template.Spec.Containers[0]; len(container.Ports)+len(container.Env) > 0 || rendered.config(t) != "{}\n" {
			t.Errorf("%s: ports %v, configuration %q", values, container.Ports, rendered.config(t))
		}
		if rendered.objects["PodMonitor/test-image-cri-shim"] != nil {
			t.Errorf("%s: found a PodMonitor", values)
		}
	}
}

// TestMetricsAddress requires that the configuration's own address stays, and that a text gets one.
func TestMetricsAddress(t *testing.T) {
	const socket = "metrics: unix:///run/image-cri-shim/metrics.sock\n"
	for values, want := range map[string]string{
		"":                               socket,
		"config: {metrics: 9465}":        "metrics: 9465\n",
		"config: {metrics: ''}":          socket,
		"config: 'metrics: :9465 # own'": "metrics: :9465 # own\n",
		"config: |\n  # a comment\n  debug: true\n":   "debug: true\n" + socket,
		"config: {debug: true}\nauthSecret: login":    "authFile: /etc/image-cri-shim/auth.json\ndebug: true\n" + socket,
		"config: {match: [], debug: false, path: ''}": "debug: false\nmatch: []\n" + socket + "path: \"\"\n",
		"live: true":                             socket,
		"compatibility: {sealosConfigMap: true}": socket,
	} {
		if got := render(t, values+"\nmetrics: {enabled: true}").config(t); got != want {
			t.Errorf("%s: configuration %q, want %q", values, got, want)
		}
	}
	render(t, "existingSecret: mine\nmetrics: {enabled: true}")
}

// TestMetricsPortIsFree requires that the agent and the shim don't listen at the same port of a
// node. The shim listens at 127.0.0.1 if its configuration has no host.
func TestMetricsPortIsFree(t *testing.T) {
	const enabled = "\nmetrics: {enabled: true, port: 19466}"
	for _, config := range []string{"{metrics: '0.0.0.0:19466'}", "{metrics: '[::]:19466'}", "{metrics: '10.0.0.5:19466'}", "'metrics: node-1:19466'"} {
		wantFailure(t, "config: "+config+enabled, "metrics.port: found 19466, which is also the port in the key metrics of config")
		render(t, "config: "+config)
	}
	for _, config := range []string{"{metrics: 19466}", "{metrics: ':19466'}", "{metrics: '127.0.0.1:19466'}", "{metrics: '[::1]:19466'}", "{metrics: 'localhost:19466'}", "{metrics: '0.0.0.0:9466'}", "{metrics: '0.0.0.0:1946'}", "{metrics: '/run/a:19466'}", "{metrics: 'unix:///run/a:19466'}"} {
		render(t, "config: "+config+enabled)
	}
}

// TestPodMonitor requires that the operator of Prometheus finds the agents' port, and that the
// targets have the job and the instance that the alerts expect.
func TestPodMonitor(t *testing.T) {
	rendered := render(t, "metrics: {enabled: true, podMonitor: {enabled: true, labels: {release: '1e3'}, interval: 30s}}")
	monitor := find[*monitoringv1.PodMonitor](t, rendered.objects, "PodMonitor/test-image-cri-shim")
	template := rendered.agent(t).Spec.Template
	selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil || !selector.Matches(labels.Set(template.Labels)) || selector.Matches(labels.Set(rendered.removal(t).Spec.Template.Labels)) {
		t.Errorf("%v: the selector %s does not match exactly the agent", err, selector)
	}
	if monitor.Labels["release"] != "1e3" || monitor.Labels["app.kubernetes.io/component"] != "metrics" || len(monitor.Spec.PodMetricsEndpoints) != 1 {
		t.Fatalf("labels %v, endpoints %v", monitor.Labels, monitor.Spec.PodMetricsEndpoints)
	}
	endpoint := monitor.Spec.PodMetricsEndpoints[0]
	if endpoint.Port == nil || *endpoint.Port != template.Spec.Containers[0].Ports[0].Name || endpoint.Interval != "30s" {
		t.Errorf("endpoint %+v", endpoint)
	}
	job := "image-cri-shim-agent"
	want := []monitoringv1.RelabelConfig{
		{SourceLabels: []monitoringv1.LabelName{"__meta_kubernetes_pod_node_name"}, TargetLabel: "instance"},
		{Replacement: &job, TargetLabel: "job"},
	}
	if !reflect.DeepEqual(endpoint.RelabelConfigs, want) {
		t.Errorf("relabelings %+v, want %+v", endpoint.RelabelConfigs, want)
	}
	for _, labels := range []string{"{app.kubernetes.io/part-of: mine, helm.sh/chart: '1'}", "null"} {
		rendered := render(t, "metrics: {enabled: true, podMonitor: {enabled: true, labels: "+labels+"}}")
		monitor := find[*monitoringv1.PodMonitor](t, rendered.objects, "PodMonitor/test-image-cri-shim")
		if labels != "null" && monitor.Labels["helm.sh/chart"] != "1" || monitor.Labels["app.kubernetes.io/name"] != "image-cri-shim" {
			t.Errorf("%s: labels %v", labels, monitor.Labels)
		}
	}
	monitor = find[*monitoringv1.PodMonitor](t, render(t, "metrics: {enabled: true, podMonitor: {enabled: true}}").objects, "PodMonitor/test-image-cri-shim")
	if interval := monitor.Spec.PodMetricsEndpoints[0].Interval; interval != "" {
		t.Errorf("the interval is %q, want none", interval)
	}
}
