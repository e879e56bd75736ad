package chart

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/agent/cli"
)

// TestAgentAcceptsArguments requires that the agent's program accepts the arguments of all
// containers and probes of the chart.
func TestAgentAcceptsArguments(t *testing.T) {
	var commands []string
	for _, values := range []string{
		"config: {address: 'http://hub'}", "existingSecret: mine", "{live: true, jitter: 5m}", "compatibility: {sealosConfigMap: true}",
		"registryGate: all", "registryGate: 'off'", "metrics: {enabled: true}",
	} {
		rendered := render(t, values)
		maps.Copy(rendered.objects, rendered.hooks)
		commands = append(commands, acceptedCommands(t, rendered.objects)...)
	}
	slices.Sort(commands)
	if got, want := slices.Compact(commands), []string{"agent", "hook await-removal", "hook prune", "remove", "status"}; !slices.Equal(got, want) {
		t.Errorf("found the commands %q, want %q", got, want)
	}
}

// TestAgentAcceptsArgumentsOfManifest requires the same of packaging/remove.yaml.
func TestAgentAcceptsArgumentsOfManifest(t *testing.T) {
	if got, want := acceptedCommands(t, removeManifest(t).objects), []string{"remove", "status"}; !slices.Equal(got, want) {
		t.Errorf("found the commands %q, want %q", got, want)
	}
}

// acceptedCommands runs the agent's program with all arguments in the objects, and returns its
// commands. After parsing its flags, the program ends, because this machine is not a node: the
// program of the shim, the status and the apiserver are missing.
func acceptedCommands(t *testing.T, objects map[string]metav1.Object) (commands []string) {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	missing := []string{"open the shim's program: ", "the agent has not written its status yet: ", "find the apiserver: "}
	for name, object := range objects {
		for _, arguments := range argumentsOf(object) {
			var stdout, stderr bytes.Buffer
			code := cli.Main(t.Context(), append([]string{"image-cri-shim-agent"}, arguments...), &stdout, &stderr)
			text := strings.TrimPrefix(stderr.String(), "image-cri-shim-agent: ")
			if code != 1 || !slices.ContainsFunc(missing, func(want string) bool { return strings.HasPrefix(text, want) }) {
				t.Errorf("%s: %q ends with %d: %s", name, arguments, code, text)
			}
			command, _, _ := strings.Cut(strings.Join(arguments, " "), " -")
			commands = append(commands, command)
		}
	}
	return commands
}

// argumentsOf returns the arguments of the agent's program in the containers of an object.
func argumentsOf(object metav1.Object) (arguments [][]string) {
	var pod corev1.PodSpec
	switch object := object.(type) {
	case *appsv1.DaemonSet:
		pod = object.Spec.Template.Spec
	case *batchv1.Job:
		pod = object.Spec.Template.Spec
	}
	for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
		arguments = append(arguments, expand(container, "10.0.0.5"))
		if len(container.Env) > 0 {
			arguments = append(arguments, expand(container, "fd00::5"))
		}
		for _, probe := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe, container.StartupProbe} {
			if probe != nil && probe.Exec != nil {
				arguments = append(arguments, probe.Exec.Command[1:])
			}
		}
	}
	return arguments
}

// expand returns a container's arguments with the values of its variables, as kubelet does.
func expand(container corev1.Container, podIP string) (args []string) {
	for _, arg := range container.Args {
		for _, variable := range container.Env {
			value := variable.Value
			if from := variable.ValueFrom; from != nil && from.FieldRef != nil && from.FieldRef.FieldPath == "status.podIP" {
				value = podIP
			}
			arg = strings.ReplaceAll(arg, "$("+variable.Name+")", value)
		}
		args = append(args, arg)
	}
	return args
}
