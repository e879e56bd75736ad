package foreign

import (
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

// process is a peer that ends when its standard input is closed, so that it never outlives the
// test.
type process struct {
	command *exec.Cmd
	input   io.Closer
	output  output
	errors  bytes.Buffer
	ended   chan struct{} // closed when the process has ended
	err     error         // of Wait; valid once ended is closed
}

// output collects the output of a process and closes started at the first line.
type output struct {
	printed bytes.Buffer // not embedded: its ReadFrom would be used instead of Write
	started chan struct{}
	once    sync.Once
}

func (o *output) Write(b []byte) (int, error) {
	if bytes.IndexByte(b, '\n') >= 0 {
		o.once.Do(func() { close(o.started) })
	}
	return o.printed.Write(b)
}

// startProcess starts a peer and returns once it has printed a line.
func startProcess(t *testing.T, name string, arguments ...string) *process {
	t.Helper()
	p := &process{command: exec.Command(name, arguments...), ended: make(chan struct{})}
	p.output.started = make(chan struct{})
	p.command.Stdout, p.command.Stderr = &p.output, &p.errors
	input, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.input = input
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	select {
	case <-p.output.started:
	case <-p.ended:
		t.Fatalf("%v did not start: %v\n%s", p.command.Args, p.err, p.errors.Bytes())
	case <-time.After(30 * time.Second):
		t.Fatalf("%v did not start in 30 s", p.command.Args)
	}
	return p
}

// kill sends SIGKILL and waits until the peer has ended.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
	_ = p.input.Close() // Wait has closed it already
}

// wait waits until the peer has ended and returns its output.
func (p *process) wait(t *testing.T, timeout time.Duration) []byte {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(timeout):
		p.kill()
		t.Fatalf("%v has not ended in %v\n%s", p.command.Args, timeout, p.errors.Bytes())
	}
	if p.err != nil {
		t.Fatalf("%v: %v\n%s", p.command.Args, p.err, p.errors.Bytes())
	}
	return p.output.printed.Bytes()
}

// run runs a command and returns its output. A non-zero exit code is not an error.
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

// writeJSON writes a value to a new file and returns the path.
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

// testContext returns a context that ends with the test and bounds every wait in it.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls problem until it returns "".
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
