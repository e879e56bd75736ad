package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"image-cri-shim/e2e/cluster/bed"
)

// metricsPassword is a password in a configuration that is refused.
const metricsPassword = "canary-of-metrics"

func metricsValues() values { return goodValues().with("metrics", values{"enabled": true}) }

// TestMetrics scrapes both agents: their state, and the metrics of the shim on the same node. A
// configuration that is refused shows its reason, without the password in it, before the agent
// ends.
func TestMetrics(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, newVersion, metricsValues())
	configurations := make(map[string]bool)
	for _, node := range cluster.Nodes {
		runPublic(ctx, t, node)
		awaitMetrics(ctx, t, node, func(m scraped) string {
			applied := m.labels("image_cri_shim_agent_applied_info")
			configurations[applied["configuration"]] = true
			switch {
			case m.value("image_cri_shim_agent_state", "ready") != 1:
				return "the agent is not ready"
			case m.labels("image_cri_shim_agent_unready_info") != nil:
				return "a ready agent has a reason"
			case applied["version"] != newVersion || m.labels("image_cri_shim_agent_requested_info")["configuration"] != applied["configuration"]:
				return fmt.Sprintf("applied %v", applied)
			case m.value("image_cri_shim_agent_kubelet_connected", "") != 1:
				return "kubelet is not connected"
			case m.value("image_cri_shim_agent_shim_scraped", "") != 1 || m.labels("image_cri_shim_build_info")["version"] != newVersion:
				return "the metrics of the shim are missing"
			case m.value("image_cri_shim_image_decisions_total", "registry") < 1:
				return "the pull is not counted"
			}
			return ""
		})
	}
	if len(configurations) != 1 {
		t.Errorf("the nodes have the configurations %v, want one", configurations)
	}

	bad := metricsValues().with("allowPasswordsInValues", true).
		with("config", "address: http://"+bed.RegistryHost+"\nauth: {username: user, password: "+metricsPassword+"}\ntimeot: 3s\n")
	if err := upgrade(ctx, t, newVersion, bad); err != nil {
		t.Fatal(err)
	}
	refused := func(m scraped) string {
		reason := m.labels("image_cri_shim_agent_unready_info")
		switch {
		case m.value("image_cri_shim_agent_state", "refused") != 1:
			return "the configuration is not refused"
		case reason["state"] != "refused" || reason["step"] != "check the configuration" || !strings.Contains(reason["reason"], "timeot"):
			return fmt.Sprintf("the reason is %v", reason)
		case m.labels("image_cri_shim_agent_requested_info")["configuration"] == m.labels("image_cri_shim_agent_applied_info")["configuration"]:
			return "the refused configuration is applied"
		case m.value("image_cri_shim_agent_shim_scraped", "") != 1:
			return "the metrics of the shim are missing"
		}
		return ""
	}
	stopped := ""
	if err := bed.Await(ctx, func(ctx context.Context) error {
		var problems []string
		for _, node := range cluster.Nodes {
			m, err := scrape(ctx, node)
			if err != nil {
				problems = append(problems, err.Error())
			} else if problem := refused(m); problem != "" {
				problems = append(problems, problem)
			} else {
				stopped = node.Name
				return nil
			}
		}
		return fmt.Errorf("no node refuses the configuration: %q", problems)
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
	for _, node := range cluster.Nodes {
		if node.Name != stopped {
			awaitServing(ctx, t, node, newVersion)
		}
	}
	install(ctx, t, newVersion, metricsValues().with("minReadySeconds", 0))

	// Without metrics, nothing listens.
	install(ctx, t, newVersion, goodValues())
	for _, node := range cluster.Nodes {
		if _, err := scrape(ctx, node); err == nil {
			t.Errorf("%s serves metrics that are off", node.Name)
		}
	}
}

// awaitMetrics scrapes a node until check returns no problem.
func awaitMetrics(ctx context.Context, t *testing.T, node *bed.Node, check func(scraped) string) {
	t.Helper()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		m, err := scrape(ctx, node)
		if err == nil {
			if problem := check(m); problem != "" {
				err = fmt.Errorf("%s: %s", node.Name, problem)
			}
		}
		return err
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
}

// scraped are the metrics of a node by name.
type scraped map[string]*dto.MetricFamily

// scrape requests the metrics at the address of the agent's pod, as Prometheus does.
func scrape(ctx context.Context, node *bed.Node) (scraped, error) {
	pods, err := agentPods(ctx, "agent")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(pods[node.Name].Status.PodIP, "9466") + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	for _, secret := range []string{metricsPassword, bed.RegistryPassword} {
		if strings.Contains(string(text), secret) {
			return nil, fmt.Errorf("the metrics of %s contain a password", node.Name)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(strings.NewReader(string(text)))
}

// labels returns the labels of the only series of a metric, or nil.
func (m scraped) labels(name string) map[string]string {
	family := m[name]
	if family == nil || len(family.Metric) != 1 {
		return nil
	}
	labels := make(map[string]string)
	for _, label := range family.Metric[0].Label {
		labels[label.GetName()] = label.GetValue()
	}
	return labels
}

// value returns the sum of a metric's series that have a label with this value.
func (m scraped) value(name, label string) (sum float64) {
	for _, metric := range m[name].GetMetric() {
		found := label == ""
		for _, pair := range metric.Label {
			found = found || pair.GetValue() == label
		}
		if found {
			sum += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return sum
}
