package fleet

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/printable"
)

// Labels, volumes and arguments of the chart's pods.
const (
	releaseLabel   = "app.kubernetes.io/instance"
	componentLabel = "app.kubernetes.io/component"
	removal        = "remove" // component that removes the shim
	configVolume   = "config"
	liveArgument   = "--live="
	sealosArgument = "--from-sealos-configmap"
)

// nodeOf returns the state of a node that a pod of its agent shows.
func nodeOf(pod *corev1.Pod) Node {
	n := Node{
		Node:      assignedNode(pod),
		Namespace: pod.Namespace,
		Release:   printable.Line(pod.Labels[releaseLabel], 100),
		Pod:       pod.Name,
		Component: printable.Line(pod.Labels[componentLabel], 100),
		Created:   pod.CreationTimestamp.UTC(),
		uid:       string(pod.UID),
	}
	// The chart gives the container the name of the component. Others may be injected.
	component := pod.Labels[componentLabel]
	for _, container := range pod.Spec.Containers {
		if container.Name == component {
			n.Image = printable.Line(container.Image, 500)
			n.Version = versionOf(n.Image)
			n.Configuration = configurationOf(pod, container.Args)
		}
	}
	container := statusOf(pod, component)
	n.Restarts, n.agentReady = container.RestartCount, container.Ready
	if running := container.State.Running; running != nil {
		n.since = running.StartedAt.Time
	}
	n.State, n.Reason, n.ReasonTime = stateOf(pod, container)
	n.Ready = n.State.Ready()
	return n
}

// statusOf returns the status of a container, which is empty before kubelet has seen the pod.
func statusOf(pod *corev1.Pod, name string) corev1.ContainerStatus {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == name {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

// assignedNode returns the node of a DaemonSet's pod. Before the pod is scheduled, its affinity
// names the node.
func assignedNode(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" {
		return pod.Spec.NodeName
	}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, field := range term.MatchFields {
				if field.Key == metav1.ObjectNameField && len(field.Values) == 1 {
					return printable.Line(field.Values[0], 253)
				}
			}
		}
	}
	return "unknown (pod " + pod.Name + ")"
}

// versionOf returns the tag of an image, or the beginning of its digest.
func versionOf(image string) string {
	name, digest, _ := strings.Cut(image, "@")
	if tag := name[strings.LastIndex(name, "/")+1:]; strings.Contains(tag, ":") {
		return tag[strings.Index(tag, ":")+1:]
	}
	if algorithm, hash, ok := strings.Cut(digest, ":"); ok {
		return algorithm + ":" + hash[:min(12, len(hash))]
	}
	return "latest"
}

// hashedName matches the name of a Secret that the chart names by its content.
var hashedName = regexp.MustCompile(`^.*image-cri-shim.*-([0-9a-f]{10})$`)

// configurationOf returns the configuration that a pod requests: the hash in the name of the
// Secret, or the name of a Secret that has no hash, followed by other sources. Only the names of
// objects are in a pod, so changes within an object that the agent watches can't be seen.
func configurationOf(pod *corev1.Pod, arguments []string) string {
	var sources []string
	for _, volume := range pod.Spec.Volumes {
		if volume.Name != configVolume || volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.Secret == nil {
				continue
			}
			name := source.Secret.Name
			if found := hashedName.FindStringSubmatch(name); found != nil {
				name = found[1]
			}
			sources = append(sources, name)
		}
	}
	for _, argument := range arguments {
		if object, ok := strings.CutPrefix(argument, liveArgument); ok {
			sources = append([]string{"live:" + object[strings.Index(object, "/")+1:]}, sources...)
		} else if argument == sealosArgument {
			sources = append(sources, "sealos")
		}
	}
	return printable.Line(strings.Join(sources, "+"), 300)
}
