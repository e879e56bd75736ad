package e2e

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// kubeletConfig is kubelet's configuration on the machine.
const kubeletConfig = "/var/lib/kubelet/config.yaml"

// isKubelet reports whether the test binary runs as the machine's kubelet.
func isKubelet() bool { return filepath.Base(os.Args[0]) == "kubelet" }

// runKubelet connects to the endpoint in kubelet's configuration with kubelet's own client,
// which calls Version, serves the healthz endpoint if its port is configured, and stays
// connected until SIGTERM.
func runKubelet() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 2 { // of a distribution
		return serveAsKubelet(ctx, os.Args[1], os.Args[2])
	}
	content, err := os.ReadFile(kubeletConfig)
	_, text, found := strings.Cut(string(content), "containerRuntimeEndpoint: unix://")
	if err != nil || !found {
		return 1
	}
	endpoint, text, _ := strings.Cut(text, "\n")
	_, port, _ := strings.Cut(text, "healthzPort: ")
	return serveAsKubelet(ctx, endpoint, strings.TrimSpace(port))
}

// serveAsKubelet is a kubelet with an endpoint and a healthz port, which may be empty.
func serveAsKubelet(ctx context.Context, endpoint, port string) int {
	client, err := testbed.Dial(ctx, endpoint)
	if err != nil {
		return 1
	}
	if port != "" {
		server := http.Server{Addr: "127.0.0.1:" + port, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Second}
		go func() { _ = server.ListenAndServe() }()
		defer func() { _ = server.Close() }()
	}
	defer func() { _ = client.Close() }()
	for {
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(200 * time.Millisecond): // connects again after a restart of the shim
			_, _ = client.Runtime.Version(ctx, "")
		}
	}
}

// kubeletsOwnConfig is kubelet's configuration before install.
const kubeletsOwnConfig = "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n"

// startKubelet starts a kubelet that uses the runtime.
func (m machine) startKubelet(t *testing.T) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	m.must(t, "mkdir", "-p", filepath.Dir(kubeletConfig))
	for path, content := range map[string]string{
		"/usr/local/bin/kubelet":              string(self),
		kubeletConfig:                         kubeletsOwnConfig,
		"/etc/systemd/system/kubelet.service": "[Service]\nExecStart=/usr/local/bin/kubelet\n",
	} {
		if err := os.WriteFile(m.Path(path), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.must(t, "systemctl", "daemon-reload")
	m.must(t, "systemctl", "start", "kubelet")
}

// TestInstallRestartsKubelet points a kubelet under a real systemd at the packaged shim and
// back, and requires that a kubelet that does not start gets its configuration back.
func TestInstallRestartsKubelet(t *testing.T) {
	m := newMachine(t)
	defer m.checkLog(t)
	m.startKubelet(t)
	configuration := func() string {
		content, err := os.ReadFile(m.Path(kubeletConfig))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	m.startService(t)
	const crictl = "/etc/crictl.yaml" // install creates it for the crictl in PATH, and uninstall removes it
	if err := errors.Join(os.RemoveAll(m.Path(crictl)), os.WriteFile(m.Path("/usr/local/bin/crictl"), []byte("#!/bin/sh\n"), 0o755)); err != nil {
		t.Fatal(err)
	}

	said := m.must(t, "image-cri-shim", "install", "--restart-kubelet", "--wait", "30s")
	if !strings.Contains(said, " calls the shim") || !strings.Contains(configuration(), "unix:///var/run/image-cri-shim.sock") {
		t.Errorf("install printed\n%s\nand the configuration is\n%s", said, configuration())
	}
	if said, err := m.Run(testContext(t), "image-cri-shim", "uninstall", "--check"); err == nil || !strings.Contains(said, kubeletConfig) {
		t.Errorf("uninstall --check: %v\n%s", err, said)
	}
	const created = "runtime-endpoint: unix:///var/run/image-cri-shim.sock\nimage-endpoint: unix:///var/run/image-cri-shim.sock\n"
	if content, err := os.ReadFile(m.Path(crictl)); err != nil || string(content) != created || !strings.Contains(said, crictl+": created") {
		t.Errorf("crictl's file is %q, %v; install printed\n%s", content, err, said)
	}
	m.must(t, "image-cri-shim", "uninstall", "--restart-kubelet")
	if _, err := os.Stat(m.Path(crictl)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after uninstall, crictl's file: %v", err)
	}
	if got := configuration(); got != kubeletsOwnConfig {
		t.Errorf("after uninstall, the configuration is\n%s", got)
	}

	if err := os.WriteFile(m.Path("/etc/systemd/system/kubelet.service"), []byte("[Service]\nExecStart=/bin/false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.must(t, "systemctl", "daemon-reload")
	said, err := m.Run(testContext(t), "image-cri-shim", "install", "--restart-kubelet", "--wait", "3s")
	if err == nil || !strings.Contains(said, "the files were restored, and kubelet was restarted again: kubelet did not connect to the shim within 3s; the state of kubelet is failed") {
		t.Errorf("with a kubelet that fails: %v", err)
	}
	if got := configuration(); got != kubeletsOwnConfig {
		t.Errorf("after the failure, the configuration is\n%s", got)
	}
}
