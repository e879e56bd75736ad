package fleet

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestReasonOfEvent requires that the last event of a container's probe gives the state and the
// reason, and that events of other pods and of the container before are ignored.
func TestReasonOfEvent(t *testing.T) {
	pod := *recordedPod(t, "unready")
	events := recorded[corev1.EventList](t, "unready-events").Items
	const reason = "check the configuration: image-cri-shim.yaml:3: timeot: unknown key; did you mean `timeout`?"
	with := func(message string, after time.Duration, change func(*corev1.Event)) []corev1.Event {
		e := *events[0].DeepCopy()
		e.Message, e.LastTimestamp = message, metav1.NewTime(e.LastTimestamp.Add(after))
		if change != nil {
			change(&e)
		}
		return []corev1.Event{e, events[0]}
	}
	for name, test := range map[string]struct {
		events []corev1.Event
		state  State
		reason string
	}{
		"recorded":        {events, Refused, reason},
		"newer":           {with("Readiness probe failed: image-cri-shim-agent: in progress: probe the shim\n", time.Second, nil), Applying, "in progress: probe the shim"},
		"older":           {with("Readiness probe failed: x", -time.Second, nil), Refused, reason},
		"combined":        {with("(combined from similar events): Readiness probe failed: image-cri-shim-agent: restart kubelet: x", time.Second, nil), Failed, "restart kubelet: x"},
		"other pod":       {with("Readiness probe failed: x", time.Second, func(e *corev1.Event) { e.InvolvedObject.UID = "other" }), Refused, reason},
		"former":          {with("", -time.Hour, nil)[:1], NotReady, ""},
		"other container": {with("Readiness probe failed: x", time.Second, func(e *corev1.Event) { e.InvolvedObject.FieldPath = "spec.containers{proxy}" }), Refused, reason},
		"other kind":      {with("x", time.Second, func(e *corev1.Event) { e.Reason = "Pulled" }), Refused, reason},
		"series": {with("Readiness probe failed: image-cri-shim-agent: the status is stale: x", -time.Hour, func(e *corev1.Event) {
			e.LastTimestamp, e.Series = metav1.Time{}, &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(events[0].LastTimestamp.Add(time.Minute))}
		}), Stale, "the status is stale: x"},
		"none": {nil, NotReady, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := read(t, &apiserver{pods: []corev1.Pod{pod}, events: test.events}, Options{})
			n := f.Nodes[0]
			if n.State != test.state || n.Reason != test.reason || (n.Reason == "") != (n.ReasonTime == nil) {
				t.Errorf("%s %q at %v, want %s %q", n.State, n.Reason, n.ReasonTime, test.state, test.reason)
			}
		})
	}
}

// TestEventsAreRead requires that events are listed only for pods that run and are not ready.
func TestEventsAreRead(t *testing.T) {
	s := &apiserver{pods: []corev1.Pod{*recordedPod(t, "ready"), *recordedPod(t, "refused")}}
	read(t, s, Options{})
	if len(s.requests) != 2 {
		t.Errorf("the requests are %q, want two lists of pods", s.requests)
	}
}
