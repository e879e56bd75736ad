package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Prometheus is Debian's Prometheus.
type Prometheus struct {
	address string
	process *process
}

// PrometheusMissing returns the reason why Prometheus can't run here, or nil if it can.
func PrometheusMissing() error {
	_, err := exec.LookPath("prometheus")
	return err
}

// Scrape returns the configuration of a Prometheus that scrapes target, a host:port, as the named
// job, and evaluates the rules file.
func Scrape(job, target, rules string) (string, error) {
	rules, err := filepath.Abs(rules)
	if err != nil {
		return "", fmt.Errorf("configure Prometheus: %w", err)
	}
	return fmt.Sprintf(`global: {scrape_interval: 200ms, evaluation_interval: 200ms}
rule_files: [%q]
scrape_configs: [{job_name: %q, static_configs: [{targets: [%q]}]}]
`, rules, job, target), nil
}

// StartPrometheus starts a Prometheus with a configuration. It returns once the API answers. Its
// files are in folder.
func StartPrometheus(ctx context.Context, folder, configuration string) (*Prometheus, error) {
	file := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	address, err := FreeAddress()
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	process, err := startProcess(filepath.Join(folder, "log"), 0, "prometheus",
		"--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	p := &Prometheus{address: address, process: process}
	if err := process.waitUntil(ctx, func() error { return p.get(ctx, "/api/v1/status/buildinfo", nil, nil) }); err != nil {
		process.kill()
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	return p, nil
}

// Stop ends Prometheus.
func (p *Prometheus) Stop() { p.process.stop() }

// Sample is the current value of one series of an expression.
type Sample struct {
	Labels map[string]string
	Value  string
}

// Query returns an expression's current value.
func (p *Prometheus) Query(ctx context.Context, expression string) (samples []Sample, err error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any // time, and the value as a string
		}
	}
	err = p.get(ctx, "/api/v1/query", url.Values{"query": {expression}}, &data)
	for _, series := range data.Result {
		samples = append(samples, Sample{series.Metric, fmt.Sprint(series.Value[1])})
	}
	return samples, err
}

// Alerts returns the state of each alert: "inactive", "pending" or "firing". The error
// joins the errors of their evaluation.
func (p *Prometheus) Alerts(ctx context.Context) (states map[string]string, err error) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, State, Health, LastError string }
		}
	}
	if err := p.get(ctx, "/api/v1/rules", nil, &data); err != nil {
		return nil, err
	}
	states = map[string]string{}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			states[rule.Name] = rule.State
			if rule.Health != "ok" {
				err = errors.Join(err, fmt.Errorf("%s: %s %s", rule.Name, rule.Health, rule.LastError))
			}
		}
	}
	return states, err
}

// get calls Prometheus' API: with POST if there are values, otherwise with GET.
func (p *Prometheus) get(ctx context.Context, path string, values url.Values, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.address+path, strings.NewReader(values.Encode()))
	if values == nil {
		request, err = http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	}
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// FreeAddress returns a loopback address on which no process listens at the moment.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
