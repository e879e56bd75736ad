package admin_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"image-cri-shim/admin"
)

// TestMain also runs the test binary as a client or server of another user.
func TestMain(m *testing.M) {
	if socket := os.Getenv("ADMIN_TEST_LISTEN"); socket != "" {
		impersonate(socket)
		return
	}
	if socket := os.Getenv("ADMIN_TEST_SOCKET"); socket != "" {
		var answer string
		if err := admin.Get(context.Background(), socket, "/echo", nil, &answer); err != nil {
			_, _ = os.Stdout.WriteString("refused: " + err.Error())
		} else {
			_, _ = os.Stdout.WriteString("answered")
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serve serves test paths on socket until the test ends.
func serve(t *testing.T, socket string) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /echo", func(w http.ResponseWriter, r *http.Request) {
		admin.Reply(w, r.URL.Query().Get("word"), nil)
	})
	mux.HandleFunc("GET /fail", func(w http.ResponseWriter, _ *http.Request) {
		admin.Reply(w, nil, errors.New("it is broken\x1b[2J\nOK"))
	})
	mux.HandleFunc("GET /begin", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("begun"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("GET /hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, listener, mux) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func TestGet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	var answer string
	if err := admin.Get(t.Context(), socket, "/echo", nil, &answer); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("without a socket: %v", err)
	}
	serve(t, socket)
	if err := admin.Get(t.Context(), socket, "/echo", url.Values{"word": {"a b&c"}}, &answer); err != nil || answer != "a b&c" {
		t.Errorf("got %q, %v", answer, err)
	}
	for path, want := range map[string]string{"/fail": "it is broken [2J OK", "/missing": admin.ErrUnknown.Error()} {
		if err := admin.Get(t.Context(), socket, path, nil, &answer); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", path, err, want)
		}
	}
	var number int
	if err := admin.Get(t.Context(), socket, "/echo", url.Values{"word": {"x"}}, &number); err == nil {
		t.Error("a string was decoded into a number")
	}
}

// TestOpen reads the start of a response that has not ended.
func TestOpen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	serve(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer, err := admin.Open(ctx, socket, "/begin", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	begun := make([]byte, 5)
	if _, err := io.ReadFull(answer, begun); err != nil || string(begun) != "begun" {
		t.Errorf("got %q, %v", begun, err)
	}
	cancel()
	if _, err := io.ReadAll(answer); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want context.Canceled", err)
	}
}

// TestServeEnds requires that the end of Serve ends a request that hangs.
func TestServeEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	failed := make(chan error, 1)
	t.Run("serving", func(t *testing.T) {
		serve(t, socket)
		go func() { failed <- admin.Get(context.Background(), socket, "/hang", nil, nil) }()
		if err := admin.Get(t.Context(), socket, "/echo", nil, new(string)); err != nil {
			t.Fatal(err)
		}
	})
	if err := <-failed; err == nil {
		t.Error("the request succeeded")
	}
	if err := admin.Get(t.Context(), socket, "/echo", nil, new(string)); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("afterwards: %v", err)
	}
}

// impersonate answers one request instead of the shim, and prints the request.
func impersonate(socket string) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		_, _ = os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	_, _ = os.Stdout.WriteString("listening\n")
	connection, err := listener.Accept()
	if err != nil {
		_, _ = os.Stdout.WriteString(err.Error())
		return
	}
	question := make([]byte, 1<<10)
	length, _ := connection.Read(question)
	_, _ = os.Stdout.WriteString("asked: " + string(question[:length]))
	_, _ = io.WriteString(connection, "HTTP/1.0 200 OK\r\n\r\n\"believe me\"")
	_ = connection.Close()
}

// openFolder returns a world-writable folder with a copy of the test binary.
func openFolder(t *testing.T) (folder, binary string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	folder, err := os.MkdirTemp("", "admin-") // other users can't enter the parents of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	binary = filepath.Join(folder, "test")
	content, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(err, os.WriteFile(binary, content, 0o755), os.Chmod(folder, 0o777)); err != nil {
		t.Fatal(err)
	}
	return folder, binary
}

// TestAnotherUserAnswers has a server of another user on the socket. The client must neither
// send it a request nor use its response.
func TestAnotherUserAnswers(t *testing.T) {
	folder, binary := openFolder(t)
	socket := filepath.Join(folder, "admin.sock")
	command := exec.CommandContext(t.Context(), binary)
	command.Env = []string{"ADMIN_TEST_LISTEN=" + socket}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := command.StdoutPipe()
	if err := errors.Join(err, command.Start()); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(output)
	if line, err := said.ReadString('\n'); line != "listening\n" {
		t.Fatalf("the server printed %q, %v", line, err)
	}
	err = admin.Get(t.Context(), socket, "/echo", nil, new(string))
	if !errors.Is(err, admin.ErrUntrustedPeer) || !strings.Contains(err.Error(), socket) || !strings.Contains(err.Error(), "user 65534") {
		t.Errorf("got %v", err)
	}
	rest, err := io.ReadAll(said)
	if err := errors.Join(err, command.Wait()); err != nil || string(rest) != "asked: " {
		t.Errorf("the server printed %q, %v", rest, err)
	}
}

// TestOtherUsers opens the socket and its folder to all users. The daemon must still answer
// only root.
func TestOtherUsers(t *testing.T) {
	folder, binary := openFolder(t)
	socket := filepath.Join(folder, "admin.sock")
	serve(t, socket)
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[uint32]string{0: "answered", 65534: "refused: request to the running shim"} {
		command := exec.CommandContext(t.Context(), binary)
		command.Env = []string{"ADMIN_TEST_SOCKET=" + socket}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		output, err := command.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(output), want) {
			t.Errorf("user %d: %q, %v, want %q", user, output, err, want)
		}
	}
}
