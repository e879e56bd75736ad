package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Limits of the metrics of the shim. Parsed, each line takes up to 300 bytes of memory.
const (
	maxAnswer = 8 << 20 // bytes
	maxLines  = 100_000
)

// scrape returns the metrics that the shim serves at address: host:port, or the absolute path of
// a socket. It returns either all of them or an error.
func scrape(ctx context.Context, address string) ([]*dto.MetricFamily, error) {
	if address == "" {
		return nil, errors.New("the configuration on the node has no key metrics")
	}
	text, err := get(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("scrape the shim at %s: %w", address, err)
	}
	families, err := parse(text)
	if err == nil && len(families) == 0 {
		err = errors.New("no metrics")
	}
	if err != nil {
		return nil, fmt.Errorf("scrape the shim at %s: its answer is invalid: %w", address, err)
	}
	return families, nil
}

// get returns the text that the shim serves.
func get(ctx context.Context, address string) (string, error) {
	network, host := "tcp", address
	if filepath.IsAbs(address) {
		network, host = "unix", "localhost"
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/metrics", nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", response.StatusCode)
	}
	var text strings.Builder
	if _, err := io.Copy(&text, io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return "", err
	}
	if text.Len() > maxAnswer {
		return "", fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if strings.Count(text.String(), "\n") > maxLines {
		return "", fmt.Errorf("the answer has more than %d lines", maxLines)
	}
	return text.String(), nil
}

// parse parses metrics, and checks that Prometheus accepts them. It leaves out those with the
// prefix of the agent's own.
func parse(text string) ([]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	var families []*dto.MetricFamily
	for name, family := range byName {
		if !utf8.ValidString(family.GetHelp()) { // Prometheus would refuse the whole response
			return nil, fmt.Errorf("the help of %s is not valid UTF-8", name)
		}
		if !strings.HasPrefix(name, prefix) {
			families = append(families, family)
		}
	}
	return prometheus.Gatherers{prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })}.Gather()
}
