package fleet

import (
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestStates requires the state and the reason for a pod in every state. Without a change, the
// pod is one that kubelet wrote.
func TestStates(t *testing.T) {
	started := metav1.NewTime(time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC))
	set := func(state, last corev1.ContainerState) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			c := &pod.Status.ContainerStatuses[0]
			c.State, c.LastTerminationState, c.Ready = state, last, false
			condition(pod, corev1.PodReady).Status = corev1.ConditionFalse
		}
	}
	waits := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	ends := func(code int32, reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, FinishedAt: started}}
	}
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
	crashed := waits("CrashLoopBackOff", "back-off 40s restarting failed container=agent")
	none := corev1.ContainerState{}
	for name, test := range map[string]struct {
		pod    string
		change func(*corev1.Pod)
		state  State
		reason string // the beginning
	}{
		"ready":   {"ready", nil, Ready, ""},
		"removed": {"removed", nil, Removed, ""},
		"down":    {"down", nil, Down, "the node is unreachable or not ready since 2026-"},
		"other container": {"ready", func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: "proxy"})
			condition(pod, corev1.PodReady).Status = corev1.ConditionFalse
		}, NotReady, "the agent is ready, container proxy of its pod is not"},
		"other init container": {"ready", func(pod *corev1.Pod) {
			pod.Spec.InitContainers = []corev1.Container{{Name: "wait"}, {Name: "proxy", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}
			pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "wait"}, {Name: "proxy"}}
			condition(pod, corev1.PodReady).Status = corev1.ConditionFalse
		}, NotReady, "the agent is ready, container proxy of its pod is not"},
		"readiness gate": {"ready", func(pod *corev1.Pod) {
			pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
			condition(pod, corev1.PodReady).Status = corev1.ConditionFalse
		}, NotReady, "the agent is ready, condition example.com/gate of its pod is not"},
		"unready":            {"unready", nil, NotReady, ""},
		"refused":            {"refused", nil, Refused, "look up the registries: registries can't be reached: http://127.0.0.1:9"},
		"crash loop":         {"ready", set(crashed, ends(1, "Error", "check the configuration: image-cri-shim.yaml:3: timeot: unknown key")), Refused, "check the configuration: image-cri-shim.yaml:3"},
		"failed step":        {"ready", set(crashed, ends(1, "Error", "probe the shim: the shim does not answer")), Failed, "probe the shim: "},
		"held":               {"ready", set(crashed, ends(1, "Error", "restart kubelet: kubelet is not healthy after 1m0s; next attempt at 2026-11-28T12:05:00Z; then the last good configuration: x")), Waiting, "restart kubelet: "},
		"out of memory":      {"ready", set(crashed, ends(137, "OOMKilled", "")), Failed, "OOMKilled, exit code 137"},
		"restarting":         {"ready", set(runs, ends(1, "Error", "check the configuration: x")), NotReady, "restarted after: check the configuration: x"},
		"creating":           {"ready", set(waits("ContainerCreating", ""), none), Pending, "ContainerCreating"},
		"no Secret":          {"ready", set(waits("CreateContainerConfigError", "secret \"x\" not found"), none), Pending, "CreateContainerConfigError: secret \"x\" not found"},
		"image":              {"ready", set(waits("ImagePullBackOff", "Back-off pulling image \"hub/agent:v9\""), none), Pulling, "ImagePullBackOff: Back-off pulling"},
		"image of a restart": {"ready", set(waits("ErrImagePull", "x"), ends(1, "Error", "check the configuration: x")), Pulling, "ErrImagePull: x"},
		"ending":             {"ready", func(pod *corev1.Pod) { pod.DeletionTimestamp = &started }, Ending, "the pod is deleted"},
		"evicted": {"ready", func(pod *corev1.Pod) {
			pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}
		}, Failed, "Evicted: The node was low on resource: memory."},
		"not scheduled": {"ready", func(pod *corev1.Pod) {
			pod.Spec.NodeName = ""
			pod.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available: 1 Insufficient memory.",
			}}}
		}, Pending, "Unschedulable: 0/3 nodes are available"},
		"not seen by kubelet": {"ready", func(pod *corev1.Pod) {
			pod.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}}
		}, Pending, "kubelet has not started the pod"},
		"control characters": {"ready", set(crashed, ends(1, "Error", "look up the registries: \x1b[31mred\x1b[0m\r\n\u202enext")), Refused, "look up the registries:  [31mred [0m next"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := recordedPod(t, test.pod)
			if test.change != nil {
				test.change(pod)
			}
			n := nodeOf(pod)
			if n.State != test.state || !strings.HasPrefix(n.Reason, test.reason) || (test.reason == "") != (n.Reason == "") {
				t.Errorf("%s %q, want %s %q", n.State, n.Reason, test.state, test.reason)
			}
			if want := test.state == Ready || test.state == Removed; n.Ready != want {
				t.Errorf("ready: %t, want %t", n.Ready, want)
			}
			if strings.HasPrefix(n.Node, "unknown") {
				t.Errorf("the node is %q, want its name, which the affinity has too", n.Node)
			}
		})
	}
}

// TestReasonsOfTheAgent requires that the agent's sources have the texts by which its reasons are
// classified.
func TestReasonsOfTheAgent(t *testing.T) {
	for _, test := range []struct {
		file, text string
		state      State
	}{
		{"rollout/apply.go", "check the configuration", Refused},
		{"rollout/apply.go", "look up the registries", Refused},
		{"rollout/failure.go", "; next attempt at ", Waiting},
		{"status/status.go", "in progress: ", Applying},
		{"status/status.go", "the first check of the node is in progress", Applying},
		{"status/status.go", "the agent has not written its status yet", Applying},
		{"status/status.go", "the status is stale", Stale},
		{"status/status.go", "the status is of process", Stale},
		{"status/status.go", "the status is of another agent", Stale},
	} {
		source, err := os.ReadFile("../../agent/" + test.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), test.text) {
			t.Errorf("%s has no %q", test.file, test.text)
		}
		reason := test.text + ": x"
		if test.state == Waiting {
			reason = "restart kubelet: x" + test.text + "2026-11-28T12:05:00Z"
		}
		if got := classify(reason, Failed); got != test.state {
			t.Errorf("%q is %s, want %s", reason, got, test.state)
		}
	}
}
