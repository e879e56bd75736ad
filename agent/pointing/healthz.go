package pointing

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"image-cri-shim/clients"
)

// healthzFlag matches kubelet's flags for its healthz endpoint. The arguments in the
// configuration of k3s have no dashes.
var healthzFlag = regexp.MustCompile(`(?:^|[\s"'=])(?:--)?healthz[-_](port|bind[-_]address)[=\s]+["']?([^\s"'\\,\]]+)`)

// healthzURL returns the URL of kubelet's healthz endpoint according to its configuration and
// flags, or "" if it is disabled.
func healthzURL(node *clients.Node) (string, error) {
	address, port := "127.0.0.1", "10248" // kubelet's defaults
	for _, file := range append([]string{node.Kubelet}, node.KubeletDropIns...) {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // kubelet may be configured by flags only
		}
		var settings struct {
			HealthzPort        *int
			HealthzBindAddress string
		}
		if err := yaml.Unmarshal(content, &settings); err != nil {
			return "", fmt.Errorf("%s: healthzPort: %w", file, err)
		}
		if settings.HealthzPort != nil {
			port = strconv.Itoa(*settings.HealthzPort)
		}
		if settings.HealthzBindAddress != "" {
			address = settings.HealthzBindAddress
		}
	}
	files := slices.Concat(node.KubeletUnits, node.KubeletFlags)
	for _, distribution := range node.Distributions {
		files = append(files, distribution.Paths()...)
	}
	for _, file := range files {
		content, _ := os.ReadFile(file) // the flags' files are optional
		for line := range strings.Lines(string(content)) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, match := range healthzFlag.FindAllStringSubmatch(line, -1) {
				if match[1] == "port" {
					port = match[2]
				} else {
					address = match[2]
				}
			}
		}
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("kubelet's healthz port %q: %w", port, err)
	} else if number == 0 {
		return "", nil
	}
	if ip := net.ParseIP(address); ip != nil && ip.IsUnspecified() {
		address = map[bool]string{true: "127.0.0.1", false: "::1"}[ip.To4() != nil]
	}
	return "http://" + net.JoinHostPort(address, port) + "/healthz", nil
}

// checkHealthz returns an error if kubelet's healthz endpoint does not answer that kubelet is
// well. An empty URL is always well.
func checkHealthz(ctx context.Context, url string) error {
	if url == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // without a proxy
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("kubelet's healthz: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("kubelet's healthz: %s answers %s", url, response.Status)
	}
	return nil
}
