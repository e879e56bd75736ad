package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	client "k8s.io/client-go/kubernetes/typed/core/v1"

	"image-cri-shim/printable"
)

// probeFailures selects the events of failed probes.
var probeFailures = fields.Set{"involvedObject.kind": "Pod", "reason": "Unhealthy"}.AsSelector().String()

// explainUnready adds the reasons of running pods that are not ready, from the last event of
// their readiness probes.
func (f *Fleet) explainUnready(ctx context.Context, core client.CoreV1Interface, nodes []Node) error {
	unready := make(map[string]map[string]*Node) // by namespace and UID
	for i := range nodes {
		n := &nodes[i]
		if n.State != NotReady || n.agentReady {
			continue
		}
		if unready[n.Namespace] == nil {
			unready[n.Namespace] = make(map[string]*Node)
		}
		unready[n.Namespace][n.uid] = n
	}
	for namespace, pods := range unready {
		err := explainNamespace(ctx, core, namespace, pods)
		if apierrors.IsForbidden(err) {
			f.Notes = append(f.Notes, fmt.Sprintf("reasons of pods that are not ready: unknown: listing events of namespace %s is not permitted", namespace))
			continue
		}
		if err != nil {
			return &listError{"the events of namespace " + namespace, err}
		}
	}
	slices.Sort(f.Notes)
	return nil
}

// explainNamespace adds the reasons to pods of a namespace, by UID.
func explainNamespace(ctx context.Context, core client.CoreV1Interface, namespace string, pods map[string]*Node) error {
	type event struct {
		message string
		time    time.Time
	}
	var last map[string]event
	err := eachPage(ctx, metav1.ListOptions{FieldSelector: probeFailures}, func() { last = make(map[string]event) },
		func(ctx context.Context, options metav1.ListOptions) (*metav1.ListMeta, error) {
			list, err := core.Events(namespace).List(ctx, options)
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				e := &list.Items[i]
				uid, at := string(e.InvolvedObject.UID), eventTime(e)
				// An event from before the start is about the container before this one.
				if n := pods[uid]; n != nil && isOf(e, n.Component) && !at.Before(n.since.Truncate(time.Second)) && !at.Before(last[uid].time) {
					last[uid] = event{e.Message, at}
				}
			}
			return &list.ListMeta, nil
		})
	if err != nil {
		return err
	}
	for uid, e := range last {
		n := pods[uid]
		n.Reason, n.ReasonTime = probeReason(e.message), new(e.time.UTC())
		n.State = classify(n.Reason, Failed)
	}
	return nil
}

// isOf reports whether an event is about a container of its pod. Other containers may be injected,
// and have probes of their own.
func isOf(e *corev1.Event, container string) bool {
	path := e.InvolvedObject.FieldPath
	return path == "" || path == "spec.containers{"+container+"}"
}

// eventTime returns the time when an event was last seen.
func eventTime(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	if e.EventTime.After(last) {
		last = e.EventTime.Time
	}
	return last
}

// probeReason returns the reason in the message of a failed readiness probe: the error of
// `image-cri-shim-agent status --ready`.
func probeReason(message string) string {
	for _, prefix := range []string{"(combined from similar events): ", "Readiness probe failed: ", "image-cri-shim-agent: "} {
		message = strings.TrimPrefix(message, prefix)
	}
	return printable.Line(message, reasonLimit)
}
