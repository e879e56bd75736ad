package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Trace is a running trace command of the shim that also records to a file.
type Trace struct {
	shim    *Shim
	folder  string
	process *process
}

// TraceEvent is a line of a recording, reduced to the fields that tests read.
type TraceEvent struct {
	Kind, Method, Code, Error, Pod, Container string
	ID                                        uint64
	Client                                    struct {
		Process, User int
		Name          string
	}
	Seconds                     float64
	RequestBytes, ResponseBytes int64
	Images                      []string
	Decisions                   []struct{ Asked, Served, Registry, Reason, Names string }
	Request, Response           json.RawMessage
	Lost                        int
}

// Trace starts the trace command, with its files in folder, and returns once it receives
// calls.
func (s *Shim) Trace(ctx context.Context, folder string, arguments ...string) (*Trace, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("start a trace: %w", err)
	}
	t := &Trace{shim: s, folder: folder}
	arguments = append([]string{"trace", "--file", s.configuration(), "--write", t.recording()}, arguments...)
	process, err := startCommand(t.Printed(), 0, exec.Command(s.options.Binary, arguments...))
	if err != nil {
		return nil, fmt.Errorf("start a trace: %w", err)
	}
	t.process = process
	recorded := func() error { _, err := os.Stat(t.recording()); return err }
	if err := process.waitUntil(ctx, recorded); err != nil && recorded() != nil { // it may have ended already
		process.kill()
		return nil, fmt.Errorf("start a trace: %w", err)
	}
	return t, nil
}

func (t *Trace) recording() string { return filepath.Join(t.folder, "recording") }

// Printed returns the path of the file that collects the command's output.
func (t *Trace) Printed() string { return filepath.Join(t.folder, "printed") }

// Interrupt ends the command with SIGINT, like Ctrl-C.
func (t *Trace) Interrupt(ctx context.Context) error {
	t.process.signal(syscall.SIGINT)
	return t.Wait(ctx)
}

// Wait waits until the command has ended and returns its error.
func (t *Trace) Wait(ctx context.Context) error {
	select {
	case <-t.process.ended:
		return t.process.err
	case <-ctx.Done():
		return fmt.Errorf("trace has not ended: %w", ctx.Err())
	}
}

// Pause stops the command with SIGSTOP, so that it reads nothing until Resume.
func (t *Trace) Pause() { t.process.signal(syscall.SIGSTOP) }

// Resume continues a paused command.
func (t *Trace) Resume() { t.process.signal(syscall.SIGCONT) }

// Kill kills the command if it is still running.
func (t *Trace) Kill() { t.process.kill() }

// EndsWith reports whether the end of the recording contains a text.
func (t *Trace) EndsWith(text string) bool { return strings.Contains(logTail(t.recording()), text) }

// Events returns the events recorded so far.
func (t *Trace) Events() ([]TraceEvent, error) {
	content, err := os.ReadFile(t.recording())
	if err != nil {
		return nil, fmt.Errorf("read a trace: %w", err)
	}
	var events []TraceEvent
	for number, line := range bytes.SplitAfter(content, []byte("\n")) {
		if number == 0 || !bytes.HasSuffix(line, []byte("\n")) {
			continue // the header, or an incomplete line
		}
		var event TraceEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("read a trace: %w", err)
		}
		events = append(events, event)
	}
	return events, nil
}

// Read returns the output of `trace --read` for the recording.
func (t *Trace) Read(ctx context.Context, arguments ...string) ([]byte, error) {
	return exec.CommandContext(ctx, t.shim.options.Binary, append([]string{"trace", "--read", t.recording()}, arguments...)...).Output()
}
