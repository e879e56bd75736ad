package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"image-cri-shim/e2e/testbed"
)

// Prometheus scrapes pods of a cluster.
type Prometheus struct {
	*testbed.Prometheus
	discovery *httptest.Server
}

// StartPrometheus starts a Prometheus that evaluates the files of rules, and scrapes the pods of a
// namespace that a configuration with scrape_configs selects. Debian's Prometheus can't discover
// pods, so a server of the bed does, with the same labels.
func (c *Cluster) StartPrometheus(ctx context.Context, namespace, scrape string, rules ...string) (*Prometheus, error) {
	var configuration struct {
		Global  map[string]string `json:"global"`
		Rules   []string          `json:"rule_files"`
		Scrapes []map[string]any  `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(scrape), &configuration); err != nil {
		return nil, fmt.Errorf("configure Prometheus: %w", err)
	}
	configuration.Global = map[string]string{"scrape_interval": "1s", "evaluation_interval": "5s"}
	for _, file := range rules {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, fmt.Errorf("configure Prometheus: %w", err)
		}
		configuration.Rules = append(configuration.Rules, path)
	}
	discovery := httptest.NewServer(c.discovery(namespace))
	for _, job := range configuration.Scrapes {
		delete(job, "kubernetes_sd_configs")
		job["http_sd_configs"] = []map[string]string{{"url": discovery.URL, "refresh_interval": "1s"}}
	}
	content, err := json.Marshal(configuration) // which is YAML too
	var folder string
	if err == nil {
		folder, err = os.MkdirTemp(c.folder, "prometheus-")
	}
	p := &Prometheus{discovery: discovery}
	if err == nil {
		p.Prometheus, err = testbed.StartPrometheus(ctx, folder, string(content))
	}
	if err != nil {
		discovery.Close()
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	return p, nil
}

// Stop ends Prometheus.
func (p *Prometheus) Stop() {
	p.Prometheus.Stop()
	p.discovery.Close()
}

// discovery lists the ports of the containers in a namespace as kubernetes_sd_configs does with
// the role pod.
func (c *Cluster) discovery(namespace string) http.Handler {
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		pods, err := c.Client.CoreV1().Pods(namespace).List(request.Context(), metav1.ListOptions{})
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadGateway)
			return
		}
		found := []target{}
		for _, pod := range pods.Items {
			for _, container := range pod.Spec.Containers {
				for _, port := range container.Ports {
					if pod.Status.PodIP != "" {
						found = append(found, target{[]string{net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))}, podLabels(&pod, port.Name)})
					}
				}
			}
		}
		response.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(response).Encode(found)
	})
}

// unnamed matches the characters that the name of a label of Prometheus can't have.
var unnamed = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// podLabels returns the labels of a target that relabel_configs may use.
func podLabels(pod *corev1.Pod, port string) map[string]string {
	labels := map[string]string{
		"__meta_kubernetes_namespace":               pod.Namespace,
		"__meta_kubernetes_pod_name":                pod.Name,
		"__meta_kubernetes_pod_node_name":           pod.Spec.NodeName,
		"__meta_kubernetes_pod_container_port_name": port,
	}
	for name, value := range pod.Labels {
		labels["__meta_kubernetes_pod_label_"+unnamed.ReplaceAllString(name, "_")] = value
	}
	return labels
}
