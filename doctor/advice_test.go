package doctor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// TestRuntimeAdvice requires that only a runtime that is not running is to be started.
func TestRuntimeAdvice(t *testing.T) {
	for _, test := range []struct {
		name, socket string
		runtime      criServer
		text, hint   string
	}{
		{"not running", "/run/containerd/containerd.sock", criServer{dialErr: os.ErrNotExist}, "does not exist", "start the runtime: systemctl start containerd"},
		{"of another distribution", "/run/k0s/containerd.sock", criServer{dialErr: os.ErrNotExist}, "does not exist", "start the runtime; if it serves another socket, set the key cri"},
		{"hangs", "/run/containerd/containerd.sock", criServer{callErr: status.Error(codes.DeadlineExceeded, "late")}, "accepts connections, but did not answer within 3s", "restart the runtime, containers keep running: systemctl restart containerd"},
		{"full backlog", "/var/run/crio/crio.sock", criServer{dialErr: syscall.EAGAIN}, "does not accept connections", "systemctl restart crio"},
		{"unknown unit hangs", "/run/k0s/containerd.sock", criServer{callErr: status.Error(codes.DeadlineExceeded, "late")}, "hangs", "ss -lxp | grep /run/k0s/containerd.sock"},
		{"no CRI", "/run/x.sock", criServer{callErr: errors.New("unknown service")}, "calls fail", "set the key cri"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &node{Options: Options{Settings: &config.Config{Runtime: test.socket}}, runtime: test.runtime}
			wantFinding(t, checkRuntime(t.Context(), n), Fail, test.text, test.hint)
		})
	}
}

// TestRuntimeHangs probes a socket on which nothing is read.
func TestRuntimeHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	n := &node{Options: Options{Settings: &config.Config{Runtime: socket}}, runtime: probe(t.Context(), socket)}
	wantFinding(t, checkRuntime(t.Context(), n), Fail, "the runtime hangs", "restart the process that serves the socket")
}

// TestShimAdvice tests the remedies for a shim that runs, but not on this socket.
func TestShimAdvice(t *testing.T) {
	answering := criServer{versions: []string{"v1"}, version: &cri.VersionResponse{RuntimeName: "containerd"}}
	missing := criServer{dialErr: os.ErrNotExist}
	late := criServer{callErr: status.Error(codes.DeadlineExceeded, "late")}
	for _, test := range []struct {
		name          string
		shim, runtime criServer
		status        ShimStatus
		statusErr     error
		text, hint    string // of checkShimSocket
		notHint       string
	}{
		{name: "shim was changed", shim: missing, runtime: answering, status: ShimStatus{Restart: []string{"shim"}, Shim: "/run/old.sock"},
			text: "still serves its former socket /run/old.sock; a restart changes it to /run/shim.sock", hint: "systemctl restart image-cri-shim; with image-cri-shim.socket instead set ListenStream= of the socket unit: mkdir -p", notHint: "shows why it stopped"},
		{name: "waits for the runtime", shim: missing, runtime: criServer{dialErr: errors.New("connection refused")}, status: ShimStatus{Waiting: "/run/cri.sock"},
			text: "it waits for /run/cri.sock (connection refused)", hint: "see the finding about the runtime; the shim needs no restart"},
		{name: "waits behind systemd's socket", shim: late, runtime: criServer{dialErr: errors.New("refused")}, status: ShimStatus{Waiting: "/run/cri.sock"},
			text: "it waits for /run/cri.sock", notHint: "restart image-cri-shim"},
		{name: "waits for another runtime", shim: missing, runtime: answering, status: ShimStatus{Waiting: "/run/old.sock", Restart: []string{"cri"}},
			text: "cri was changed without a restart", hint: "systemctl restart image-cri-shim"},
		{name: "waits no longer", shim: missing, runtime: answering, status: ShimStatus{Waiting: "/run/cri.sock"}, text: "it waits for", hint: "wait a few seconds"},
		{name: "socket was removed", shim: missing, runtime: answering, text: "does not exist", hint: "restart the running shim"},
		{name: "both are stopped", shim: missing, runtime: missing, statusErr: admin.ErrNotRunning, text: "does not exist", hint: "start the runtime first"},
		{name: "stopped", shim: missing, runtime: answering, statusErr: admin.ErrNotRunning, text: "does not exist", hint: "start the shim: systemctl start image-cri-shim"},
		{name: "stopped behind systemd's socket", shim: late, runtime: answering, statusErr: admin.ErrNotRunning, text: "no shim answers", hint: "systemctl start image-cri-shim"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &node{Options: Options{File: "/f", Settings: &config.Config{Shim: "/run/shim.sock", Runtime: "/run/cri.sock"}},
				shim: test.shim, runtime: test.runtime, shimStatus: test.status, shimStatusErr: test.statusErr}
			got := checkShimSocket(t.Context(), n)
			wantFinding(t, got, Fail, test.text, test.hint)
			if test.notHint != "" && strings.Contains(got[0].Hint, test.notHint) {
				t.Errorf("the hint is %q", got[0].Hint)
			}
			if test.statusErr != nil {
				wantFinding(t, checkRunningShim(t.Context(), n), OK, "", "") // the same cause
			}
		})
	}
}

// TestSocketMode requires a remedy without a restart for a socket that is open to others.
func TestSocketMode(t *testing.T) {
	folder := t.TempDir()
	shim, runtime := filepath.Join(folder, "shim.sock"), filepath.Join(folder, "cri.sock")
	for path, mode := range map[string]os.FileMode{shim: 0o666, runtime: 0o660} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	n := &node{Options: Options{Settings: &config.Config{Shim: shim, Runtime: runtime}}}
	wantFinding(t, []Finding{n.socketModeFinding(topic{})}, Warn, "open to more users", "chmod 0660 "+shim+", without a restart")
}

// TestConfigurationWarnings requires one remedy for each warning: its own command if it has
// one.
func TestConfigurationWarnings(t *testing.T) {
	n := &node{Options: Options{File: "/f", Settings: &config.Config{Warnings: []config.Message{
		{File: "/f", Text: "open to all users (mode 0644)", Hint: "do: chmod o= /f"},
		{File: "/f", Text: "every user can change where images come from (mode 0666)", Hint: "do: chmod o-w /f"},
		{File: "/f", Line: 3, Key: "sync", Text: "has no effect"},
	}}}}
	got := checkConfiguration(n)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	wantFinding(t, got[:1], Warn, "open to all users (mode 0644)", "chmod o= /f, without a restart")
	if strings.Contains(got[0].Text+got[0].Hint, "do:") || strings.Contains(got[0].Hint, "correct the file") {
		t.Errorf("two remedies: %+v", got[0])
	}
	wantFinding(t, got[1:], Warn, "has no effect", "correct the file")
}

// TestCrictlWithoutAFile distinguishes nodes with and without crictl.
func TestCrictlWithoutAFile(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	n := &node{Options: Options{Settings: &config.Config{Shim: "/run/shim.sock"}, Files: Files{Crictl: filepath.Join(folder, "crictl.yaml")}}}
	if !HasProgram("crictl") {
		wantFinding(t, checkCrictl(t.Context(), n), OK, "no crictl in PATH", "")
	}
	if err := os.WriteFile(filepath.Join(folder, "crictl"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got := checkCrictl(t.Context(), n)
	wantFinding(t, got, Warn, "crictl has no configuration file", "write the file")
	runCommands(t, got[0], 1)
	wantFinding(t, checkCrictl(t.Context(), n), OK, usesShim, "")
}

// runCommands runs the shell commands of a finding's remedy, which must be the given number.
func runCommands(t *testing.T, f Finding, number int) {
	t.Helper()
	if len(f.Commands) != number {
		t.Errorf("%d commands, want %d: %s", len(f.Commands), number, f.Hint)
	}
	for _, command := range f.Commands {
		if output, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", command, err, output)
		}
	}
}

// TestMetrics requires a finding with the reason why no metrics are served.
func TestMetrics(t *testing.T) {
	inUse := "listen tcp 127.0.0.1:9090: bind: address already in use"
	for _, test := range []struct {
		address, problem string
		level            Level
		text, hint       string
	}{
		{"", "", OK, "", ""},
		{"127.0.0.1:9090", "", OK, "served", ""},
		{"127.0.0.1:9090", inUse, Warn, "another process uses the address", "ss -ltnp sport = :9090"},
		{"10.0.0.9:9090", "cannot assign requested address", Warn, "cannot assign", "an address of this node"},
	} {
		n := &node{Options: Options{Settings: &config.Config{Metrics: test.address}}, shimStatus: ShimStatus{Metrics: test.problem}}
		wantFinding(t, checkMetrics(t.Context(), n), test.level, test.text, test.hint)
	}
}

// TestTLSAdvice requires that the text and the remedy agree for a registry without TLS.
func TestTLSAdvice(t *testing.T) {
	p := registry.Probe{Registry: "https://hub:5000", Host: "hub:5000", TLS: fmt.Errorf("write something: %w", tls.RecordHeaderError{Msg: "not TLS"})}
	got := connectionFindings(p, config.Registry{})
	last := got[len(got)-1:]
	wantFinding(t, last, Fail, "the server does not speak TLS, but its address stands for https", "write http://hub:5000 as the address")
	if strings.Contains(last[0].Text, "write") || strings.Contains(last[0].Hint, " or ") {
		t.Errorf("two remedies: %+v", last)
	}
}
