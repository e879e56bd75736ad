package foreign

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// process is a peer that runs until its standard input is closed, and so never longer
// than the test.
type process struct {
	command *exec.Cmd
	input   io.Closer
	errors  bytes.Buffer
	stopped sync.Once
}

// startProcess starts a peer and returns when it has printed a line.
func startProcess(t *testing.T, name string, arguments ...string) *process {
	t.Helper()
	p := &process{command: exec.Command(name, arguments...)}
	p.command.Stderr = &p.errors
	input, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.input = input
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	watchdog := time.AfterFunc(30*time.Second, func() { _ = p.command.Process.Kill() })
	defer watchdog.Stop()
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		p.kill()
		t.Fatalf("%s %v did not start: %v\n%s", name, arguments, err, p.errors.Bytes())
	}
	return p
}

// kill ends the peer with SIGKILL and waits for its end.
func (p *process) kill() {
	p.stopped.Do(func() {
		_ = p.command.Process.Kill() // it may have ended
		_ = p.command.Wait()         // so it says
		_ = p.input.Close()
	})
}

// run runs a command to its end and returns what it prints. Its exit code is not an error.
func run(ctx context.Context, name string, arguments ...string) (output, errors []byte, err error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	if command.ProcessState != nil && command.ProcessState.Exited() {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("%s %v: %w\n%s", name, arguments, err, stderr.Bytes())
	}
	return stdout.Bytes(), stderr.Bytes(), err
}

// writeJSON writes a value to a new file and returns the file's path.
func writeJSON(t *testing.T, value any) string {
	t.Helper()
	content, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, content)
}

func writeFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testContext ends with the test, and bounds every wait in it.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until problem returns none.
func eventually(t *testing.T, problem func() string) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		found := problem()
		if found == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Error(found)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
