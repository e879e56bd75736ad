package daemon

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

// connectAndCall calls Version on a shim's socket over a new connection, which stays open until the
// returned function is called.
func connectAndCall(ctx context.Context, socket string) (func() error, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	_, err = cri.NewRuntimeServiceClient(connection).Version(ctx, &cri.VersionRequest{}, grpc.WaitForReady(true))
	return connection.Close, err
}

// TestMain also runs the test binary as a client: it calls the shim once and stays connected
// until its standard input ends.
func TestMain(m *testing.M) {
	if socket := os.Getenv("DAEMON_TEST_CLIENT_OF"); socket != "" {
		if _, err := connectAndCall(context.Background(), socket); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("called\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

type versionRuntime struct {
	cri.UnimplementedRuntimeServiceServer
}

// Version implements [cri.RuntimeServiceServer].
func (versionRuntime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: "fixture"}, nil
}

// startDaemon runs a daemon in front of a runtime that answers Version, and returns the socket
// of the shim and its admin socket.
func startDaemon(t *testing.T, keys string) (shim, adminSocket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "daemon")
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := net.Listen("unix", filepath.Join(folder, "cri.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, versionRuntime{})
	go func() { _ = server.Serve(runtime) }()
	shim, file := filepath.Join(folder, "shim.sock"), filepath.Join(folder, "shim.yaml")
	content := "shim: " + shim + "\ncri: " + runtime.Addr().String() + "\nimage: " + folder + "\n" + keys
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, file, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
		server.Stop()
		_ = os.RemoveAll(folder)
	})
	return shim, admin.Socket(folder)
}

// about asks the daemon about itself until the answer meets the condition.
func about(t *testing.T, socket string, condition func(explain.ShimStatus) bool) explain.ShimStatus {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		var status explain.ShimStatus
		err := admin.Get(t.Context(), socket, admin.AboutPath, nil, &status)
		if err == nil && condition(status) {
			return status
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, %v", status, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestAboutListsClients connects this process and another one, a program named kubelet, to
// the shim's socket.
func TestAboutListsClients(t *testing.T) {
	for _, engine := range []string{"frames", "grpc"} {
		t.Run(engine, func(t *testing.T) {
			shim, socket := startDaemon(t, "engine: "+engine+"\n")
			about(t, socket, func(s explain.ShimStatus) bool { return s.Waiting == "" && s.Clients != nil && len(s.Clients) == 0 })

			kubelet := filepath.Join(t.TempDir(), "kubelet")
			content, err := os.ReadFile("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(kubelet, content, 0o755); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), kubelet)
			command.Env = append(os.Environ(), "DAEMON_TEST_CLIENT_OF="+shim)
			hold, err := command.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			said, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			if line := make([]byte, len("called\n")); func() error { _, err := io.ReadFull(said, line); return err }() != nil {
				t.Fatalf("the client said %q", line)
			}
			want := explain.ShimClient{Process: command.Process.Pid, Name: "kubelet", User: os.Geteuid(), Connections: 1, Calls: 1}
			status := about(t, socket, func(s explain.ShimStatus) bool { return slices.Contains(s.Clients, want) })
			if first := status.Clients[0]; first != want || !first.IsKubelet() {
				t.Errorf("the first client is %+v, want %+v", first, want)
			}
			if err := hold.Close(); err != nil {
				t.Fatal(err)
			}
			if err := command.Wait(); err != nil {
				t.Errorf("the client ended with %v", err)
			}
			about(t, socket, func(s explain.ShimStatus) bool { return len(s.Clients) == 0 })
		})
	}
}

// TestAboutOfAWaitingShim requires that a shim without its runtime says so.
func TestAboutOfAWaitingShim(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "shim.yaml")
	runtime := filepath.Join(folder, "none.sock")
	if err := os.WriteFile(file, []byte("shim: "+filepath.Join(folder, "shim.sock")+"\ncri: "+runtime+"\nimage: "+folder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, file, io.Discard) }()
	about(t, admin.Socket(folder), func(s explain.ShimStatus) bool { return s.Waiting == runtime })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAboutWithoutARuntime requires that a shim which has found no runtime yet says so, and
// answers resolve with an error.
func TestAboutWithoutARuntime(t *testing.T) {
	if socket, err := config.DetectRuntime(t.Context()); err == nil {
		t.Skipf("a runtime serves %s", socket)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "shim.yaml")
	if err := os.WriteFile(file, []byte("shim: "+filepath.Join(folder, "shim.sock")+"\nimage: "+folder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, file, io.Discard) }()
	about(t, admin.Socket(folder), func(s explain.ShimStatus) bool { return s.Waiting == anyRuntime })
	if err := admin.Get(t.Context(), admin.Socket(folder), admin.ResolvePath, url.Values{"image": {"nginx"}}, nil); err == nil || !strings.Contains(err.Error(), "waiting for a runtime") {
		t.Errorf("resolve: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestListedClientsAreBounded requires that kubelet is in a list that leaves out clients.
func TestListedClientsAreBounded(t *testing.T) {
	var clients connectedClients
	for process := range maxListedClients + 10 {
		clients.add(unixsocket.Peer{Process: -1, User: process}, 2)
	}
	listed, more := clients.list()
	if len(listed) != maxListedClients || more != 10 || listed[0].Connections != 2 {
		t.Errorf("%d listed, %d more, the first is %+v", len(listed), more, listed[0])
	}
}
