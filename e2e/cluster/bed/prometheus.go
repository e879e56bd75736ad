package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/yaml"

	"image-cri-shim/e2e/testbed"
)

// StartPrometheus starts a Prometheus that evaluates the files of rules every second, and scrapes
// the pods that a configuration with scrape_configs finds as the administrator of the cluster.
func (c *Cluster) StartPrometheus(ctx context.Context, scrape string, rules ...string) (*testbed.Prometheus, error) {
	var configuration struct {
		Global  map[string]string `json:"global"`
		Rules   []string          `json:"rule_files"`
		Scrapes []map[string]any  `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(scrape), &configuration); err != nil {
		return nil, fmt.Errorf("configure Prometheus: %w", err)
	}
	configuration.Global = map[string]string{"scrape_interval": "1s", "evaluation_interval": "1s"}
	for _, file := range rules {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, fmt.Errorf("configure Prometheus: %w", err)
		}
		configuration.Rules = append(configuration.Rules, path)
	}
	for _, job := range configuration.Scrapes {
		discoveries, _ := job["kubernetes_sd_configs"].([]any)
		for _, discovery := range discoveries {
			discovery.(map[string]any)["kubeconfig_file"] = c.Kubeconfig
		}
	}
	content, err := json.Marshal(configuration) // which is YAML too
	if err != nil {
		return nil, fmt.Errorf("configure Prometheus: %w", err)
	}
	folder, err := os.MkdirTemp(c.folder, "prometheus-")
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	return testbed.StartPrometheus(ctx, folder, string(content))
}
