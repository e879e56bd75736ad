package unixsocket_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"image-cri-shim/unixsocket"
)

// TestListenIsRaced lets many listeners open one socket at the same moment. One of them gets
// and keeps it, and the others report that it is in use.
func TestListenIsRaced(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, string){
		"no file":      func(*testing.T, string) {},
		"stale socket": leaveStale,
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				socket := temporarySocket(t)
				prepare(t, socket)
				listeners, failures := race(t, socket, 10)
				if len(listeners) != 1 {
					t.Fatalf("%d listeners have the socket", len(listeners))
				}
				for _, err := range failures {
					if !strings.Contains(err.Error(), "in use") {
						t.Errorf("the error is %v", err)
					}
				}
				expectReaches(t, socket, listeners[0])
				_ = listeners[0].Close()
				if left := inventory(t, filepath.Dir(socket)); left != "" {
					t.Fatalf("files are left:\n%s", left)
				}
			}
		})
	}
}

// race calls Listen many times at once.
func race(t *testing.T, socket string, count int) (listeners []net.Listener, failures []error) {
	t.Helper()
	var mutex sync.Mutex
	var running sync.WaitGroup
	start := make(chan struct{})
	for range count {
		running.Go(func() {
			<-start
			listener, err := unixsocket.Listen(t.Context(), socket, "")
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				failures = append(failures, err)
				return
			}
			listeners = append(listeners, listener)
			t.Cleanup(func() { _ = listener.Close() })
		})
	}
	close(start)
	running.Wait()
	return listeners, failures
}

// expectReaches checks that a client of the socket reaches the listener.
func expectReaches(t *testing.T, socket string, listener net.Listener) {
	t.Helper()
	client, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_ = listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(timeout))
	for { // connections of listeners that checked the socket come first
		accepted, err := listener.Accept()
		if err != nil {
			t.Fatalf("the client reaches another listener: %v", err)
		}
		_ = accepted.SetReadDeadline(time.Now().Add(timeout))
		_, _ = client.Write([]byte("x"))
		n, _ := accepted.Read(make([]byte, 1))
		_ = accepted.Close()
		if n == 1 {
			return
		}
	}
}

// TestListenIsRacedByProcesses does the same with processes. It kills the winner each time, so
// that the next ones find its stale socket.
func TestListenIsRacedByProcesses(t *testing.T) {
	const racer = "UNIXSOCKET_TEST_RACE"
	if socket := os.Getenv(racer); socket != "" {
		_, _ = io.ReadFull(os.Stdin, make([]byte, 1)) // wait for the start
		if _, err := unixsocket.Listen(t.Context(), socket, ""); err != nil {
			_, _ = os.Stdout.WriteString("lost: " + err.Error() + "\n")
			return
		}
		_, _ = os.Stdout.WriteString("won\n")
		_, _ = io.ReadAll(os.Stdin) // wait to be killed
		return
	}
	socket := temporarySocket(t)
	for range 5 {
		var racers []*racingProcess
		for range 8 {
			racers = append(racers, startRacer(t, racer+"="+socket))
		}
		for _, r := range racers {
			_, _ = r.stdin.Write([]byte("x"))
		}
		won := 0
		for _, r := range racers {
			line, err := r.stdout.ReadString('\n')
			switch {
			case line == "won\n":
				won++
			case !strings.HasPrefix(line, "lost: ") || !strings.Contains(line, "in use"):
				t.Errorf("a process says %q, %v", line, err)
			}
		}
		if won != 1 {
			t.Errorf("%d processes have the socket", won)
		}
		expectAnswer(t, socket)
		for _, r := range racers {
			_ = r.command.Process.Kill()
			_ = r.command.Wait()
		}
		if connection, err := net.Dial("unix", socket); err == nil {
			_ = connection.Close()
			t.Error("the killed process answers")
		}
	}
}

type racingProcess struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
}

func startRacer(t *testing.T, variable string) *racingProcess {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestListenIsRacedByProcesses$")
	command.Env = append(os.Environ(), variable)
	stdin, err := command.StdinPipe()
	stdout, err2 := command.StdoutPipe()
	if err := errors.Join(err, err2, command.Start()); err != nil {
		t.Fatal(err)
	}
	return &racingProcess{command, stdin, bufio.NewReader(stdout)}
}

// Listen succeeds despite the lock file of a crashed process.
func TestListenTakesLeftLock(t *testing.T) {
	socket := temporarySocket(t)
	if err := os.WriteFile(socket+".lock", []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener := listen(t, socket, "")
	expectAnswer(t, socket)
	expectGone(t, socket+".lock")
	_ = listener.Close()
}

// A lock file that is a link is an error, and its target stays unchanged.
func TestListenRefusesLinkedLock(t *testing.T) {
	socket := temporarySocket(t)
	precious := filepath.Join(t.TempDir(), "precious")
	if err := errors.Join(os.WriteFile(precious, []byte("precious"), 0o600), os.Symlink(precious, socket+".lock")); err != nil {
		t.Fatal(err)
	}
	if listener, err := unixsocket.Listen(t.Context(), socket, ""); err == nil || !strings.Contains(err.Error(), socket+".lock") {
		t.Errorf("got %v, %v", listener, err)
	}
	if content, err := os.ReadFile(precious); err != nil || string(content) != "precious" {
		t.Errorf("the file holds %q, %v", content, err)
	}
}

// Listen waits for a lock that another process holds, as long as the context allows.
func TestListenWaitsForLock(t *testing.T) {
	socket := temporarySocket(t)
	lock, err := os.OpenFile(socket+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if listener, err := unixsocket.Listen(ctx, socket, ""); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), socket+".lock") {
		t.Errorf("got %v, %v", listener, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = lock.Close() })
	listen(t, socket, "")
	expectAnswer(t, socket)
}
