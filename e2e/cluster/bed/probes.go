package bed

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// SuccessfulProbes returns the number of successful readiness probes of a pod since its kubelet
// started.
func (c *Cluster) SuccessfulProbes(ctx context.Context, pod *corev1.Pod) (float64, error) {
	text, err := c.Client.Discovery().RESTClient().Get().
		AbsPath("/api/v1/nodes", pod.Spec.NodeName, "proxy/metrics/probes").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the probe metrics of %s: %w", pod.Spec.NodeName, err)
	}
	families, err := parseMetrics(text)
	if err != nil {
		return 0, fmt.Errorf("read the probe metrics of %s: %w", pod.Spec.NodeName, err)
	}
	var count float64
	for _, metric := range families["prober_probe_total"].GetMetric() {
		labels := labelsOf(metric)
		if labels["pod_uid"] == string(pod.UID) && labels["probe_type"] == "Readiness" && labels["result"] == "successful" {
			count += metric.GetCounter().GetValue()
		}
	}
	return count, nil
}

// AwaitProbed returns once the readiness probe of each pod has succeeded after the call.
func (c *Cluster) AwaitProbed(ctx context.Context, pods ...*corev1.Pod) error {
	for _, pod := range pods {
		before, err := c.SuccessfulProbes(ctx, pod)
		if err != nil {
			return err
		}
		if err := Await(ctx, func(ctx context.Context) error {
			now, err := c.SuccessfulProbes(ctx, pod)
			if err != nil {
				return err
			}
			before = min(before, now) // kubelet counts from zero after a restart
			if now == before {
				return fmt.Errorf("kubelet has not probed it again after %v successful probes", before)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("the pod %s: %w", pod.Name, err)
		}
	}
	return nil
}
