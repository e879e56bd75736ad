package fleet

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"image-cri-shim/printable"
)

// State is the state of a node.
type State string

// The states. Those from Applying to Stale are the agent's own; a running pod that is not ready
// has one of them only if its last event is known.
const (
	Ready    State = "ready"     // the configuration is applied, and kubelet uses the shim
	Removed  State = "removed"   // the node is taken out, and the shim is gone
	Applying State = "applying"  // a step or the first check is in progress
	Refused  State = "refused"   // the agent refuses the configuration, or can't reach a registry
	Waiting  State = "waiting"   // an attempt failed, and the next one waits for its time
	Failed   State = "failed"    // an attempt failed, or the agent ended
	Stale    State = "stale"     // the agent does not update its status
	NotReady State = "not-ready" // the pod runs and is not ready for an unknown reason
	Pending  State = "pending"   // the pod has no node, or its container is not created
	Pulling  State = "no-image"  // the image of the agent can't be pulled
	Ending   State = "ending"    // the pod is deleted
	Down     State = "down"      // the node is unreachable or not ready
)

// States lists the states.
var States = []State{Ready, Removed, Applying, Refused, Waiting, Failed, Stale, NotReady, Pending, Pulling, Ending, Down}

// Ready reports whether a node is in the requested state.
func (s State) Ready() bool { return s == Ready || s == Removed }

const reasonLimit = 4096 // bytes, as the message of a container that ended

// stateOf returns the state of the node that a pod shows, with its reason.
// container is the status of the agent's container.
func stateOf(pod *corev1.Pod, container corev1.ContainerStatus) (State, string, *time.Time) {
	ended := container.State.Terminated
	if ended == nil {
		ended = container.LastTerminationState.Terminated
	}
	waiting, running := container.State.Waiting, container.State.Running
	ready := condition(pod, corev1.PodReady)
	switch {
	// kubelet sets the condition of the pod by the state of its containers. The node controller
	// sets only the condition, once kubelet does not report any more.
	case running != nil && container.Ready && ready != nil && ready.Status != corev1.ConditionTrue:
		if part := unreadyPart(pod); part != "" {
			return NotReady, "the agent is ready, " + part + " of its pod is not", nil
		}
		return Down, "the node is unreachable or not ready since " + ready.LastTransitionTime.UTC().Format(time.RFC3339), nil
	case pod.DeletionTimestamp != nil:
		return Ending, "the pod is deleted", nil
	case pod.Status.Phase == corev1.PodFailed && ended == nil:
		return Failed, text(pod.Status.Reason, pod.Status.Message), nil
	case waiting != nil && isFailingPull(waiting.Reason):
		return Pulling, text(waiting.Reason, waiting.Message), nil
	case ended != nil && running == nil:
		reason := endReason(ended)
		return classify(reason, Failed), reason, new(ended.FinishedAt.UTC())
	case waiting != nil:
		return Pending, text(waiting.Reason, waiting.Message), nil
	case running != nil && ready != nil && ready.Status == corev1.ConditionTrue:
		if pod.Labels[componentLabel] == removal {
			return Removed, "", nil
		}
		return Ready, "", nil
	case running != nil && ended != nil:
		return NotReady, "restarted after: " + endReason(ended), new(ended.FinishedAt.UTC())
	case running != nil:
		return NotReady, "", nil
	}
	if scheduled := condition(pod, corev1.PodScheduled); scheduled != nil && scheduled.Status != corev1.ConditionTrue {
		return Pending, text(scheduled.Reason, scheduled.Message), nil
	}
	return Pending, "kubelet has not started the pod", nil
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// unreadyPart returns a container or a condition because of which kubelet reports a pod as not
// ready, or "". Others than the agent's container may be injected into the pod.
func unreadyPart(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if !status.Ready {
			return "container " + printable.Line(status.Name, 100)
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if policy := container.RestartPolicy; policy == nil || *policy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		for _, status := range pod.Status.InitContainerStatuses {
			if status.Name == container.Name && !status.Ready {
				return "container " + printable.Line(status.Name, 100)
			}
		}
	}
	for _, gate := range pod.Spec.ReadinessGates {
		if c := condition(pod, gate.ConditionType); c == nil || c.Status != corev1.ConditionTrue {
			return "condition " + printable.Line(string(gate.ConditionType), 100)
		}
	}
	return ""
}

// endReason returns why a container ended: its message, or the reason of kubelet.
func endReason(ended *corev1.ContainerStateTerminated) string {
	if message := printable.Line(ended.Message, reasonLimit); message != "" {
		return message
	}
	return printable.Line(fmt.Sprintf("%s, exit code %d", ended.Reason, ended.ExitCode), reasonLimit)
}

// text returns a reason and its message on one line.
func text(reason, message string) string {
	return printable.Line(strings.Trim(reason+": "+message, ": "), reasonLimit)
}

// The forms of the agent's reasons. All but the time of the next attempt are at the beginning,
// because a cause that follows may contain any text.
var (
	retries     = regexp.MustCompile(`; next attempt at \d{4}-`)
	inProgress  = regexp.MustCompile(`^(in progress: |the first check of the node is in progress|the agent has not written its status yet)`)
	refusals    = regexp.MustCompile(`^(check the configuration|look up the registries): `)
	staleStatus = regexp.MustCompile(`^the status is (stale|of process|of another agent)`)
)

// classify returns the state for a reason of the agent, or other for any other reason.
func classify(reason string, other State) State {
	switch {
	case refusals.MatchString(reason):
		return Refused
	case inProgress.MatchString(reason):
		return Applying
	case staleStatus.MatchString(reason):
		return Stale
	case retries.MatchString(reason):
		return Waiting
	}
	return other
}
