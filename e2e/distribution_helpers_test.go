package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
)

// The paths of the stand-ins for distributions of Kubernetes, which can't be installed here.
const (
	k3sPath      = "/var/lib/rancher/k3s/data/current/bin/k3s-server"
	rke2Path     = "/usr/local/bin/rke2"
	k0sPath      = "/usr/local/bin/k0s"
	kubelitePath = "/snap/microk8s/current/kubelite"
)

const testContainerd = "/run/containerd/containerd.sock"

func isDistribution() bool {
	return slices.Contains([]string{k3sPath, rke2Path, k0sPath, kubelitePath}, os.Args[0])
}

// runDistribution stands in for a distribution. It reads the same files and arguments, serves the
// embedded runtime only if no other one is set, and runs kubelet with the resulting endpoint: k3s
// and MicroK8s in the same process, RKE2 and k0s in a process of its own.
func runDistribution() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var arguments []string // of kubelet
	endpoint, embedded, own := "", "", false
	switch os.Args[0] {
	case k3sPath, rke2Path:
		name := map[string]string{k3sPath: "k3s", rke2Path: "rke2"}[os.Args[0]]
		values, err := readRancher("/etc/rancher/" + name + "/config.yaml")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		arguments, embedded, own = values["kubelet-arg"], "/run/k3s/containerd/containerd.sock", name == "rke2"
		if set := values["container-runtime-endpoint"]; len(set) > 0 {
			endpoint, embedded = set[0], ""
		}
	case k0sPath:
		embedded, own = "/run/k0s/containerd.sock", true
		for _, argument := range os.Args[1:] {
			if extra, found := strings.CutPrefix(argument, "--kubelet-extra-args="); found { // the last one counts
				arguments = strings.Fields(extra)
			}
			if set, found := strings.CutPrefix(argument, "--cri-socket=remote:"); found {
				endpoint, embedded = set, ""
			}
		}
	case kubelitePath:
		content, err := os.ReadFile("/var/snap/microk8s/current/args/kubelet")
		if err != nil {
			return 1
		}
		common := strings.ReplaceAll(string(content), "${SNAP_COMMON}", "/var/snap/microk8s/common")
		arguments = strings.Fields(common)
	}
	if embedded != "" {
		endpoint = embedded
		if err := relay(embedded, testContainerd); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	port := ""
	for _, argument := range arguments {
		key, value, _ := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		switch key {
		case "container-runtime-endpoint":
			endpoint = value
		case "healthz-port":
			port = value
		}
	}
	endpoint = strings.TrimPrefix(endpoint, "unix://")
	if _, err := os.Stat("/run/fail-at-shim"); err == nil && strings.Contains(endpoint, "image-cri-shim") {
		return 1
	}
	if !own {
		return serveAsKubelet(ctx, endpoint, port)
	}
	goruntime.LockOSThread() // the signal at the end of the parent depends on its thread
	kubelet := exec.CommandContext(ctx, "/usr/local/bin/kubelet", endpoint, port)
	kubelet.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := kubelet.Run(); err != nil && ctx.Err() == nil {
		return 1
	}
	return 0
}

// readRancher reads the configuration of k3s or RKE2 as they do: drop-ins follow in the order of
// their names, and replace the value of a key unless it ends in +. Each value must be on the
// line of its key, and a list must be JSON.
func readRancher(file string) (values map[string][]string, err error) {
	files := []string{file}
	entries, _ := os.ReadDir(file + ".d") // may be missing
	for _, entry := range entries {
		if ending := filepath.Ext(entry.Name()); ending == ".yaml" || ending == ".yml" {
			files = append(files, filepath.Join(file+".d", entry.Name()))
		}
	}
	values = make(map[string][]string)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for line := range strings.Lines(string(content)) {
			key, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
			list := []string{text}
			if strings.HasPrefix(text, "[") {
				if err := json.Unmarshal([]byte(text), &list); err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
			}
			name, adds := strings.CutSuffix(key, "+")
			if !adds {
				values[name] = nil
			}
			values[name] = append(values[name], list...)
		}
	}
	return values, nil
}

// relay serves a socket with the connections of another one, until this process ends.
func relay(from, to string) error {
	_ = os.Remove(from) // of a former process
	if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
		return err
	}
	listener, err := net.Listen("unix", from)
	if err != nil {
		return err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
	return nil
}
