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

// Trace is the shim's trace command, which runs and records what it shows.
type Trace struct {
	shim    *Shim
	folder  string
	process *process
}

// TraceEvent is a line of a trace; the parts that are looked at.
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

// Trace starts the trace command, with its files in a folder of its own, and returns
// when it is told of calls.
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
	if err := process.waitUntil(ctx, func() error { _, err := os.Stat(t.recording()); return err }); err != nil {
		process.kill()
		return nil, fmt.Errorf("start a trace: %w", err)
	}
	return t, nil
}

func (t *Trace) recording() string { return filepath.Join(t.folder, "recording") }

// Printed is the file that holds what the command has printed.
func (t *Trace) Printed() string { return filepath.Join(t.folder, "printed") }

// Interrupt ends the command as Ctrl-C does.
func (t *Trace) Interrupt(ctx context.Context) error {
	t.process.signal(syscall.SIGINT)
	return t.Wait(ctx)
}

// Wait returns when it has ended.
func (t *Trace) Wait(ctx context.Context) error {
	select {
	case <-t.process.ended:
		return t.process.err
	case <-ctx.Done():
		return fmt.Errorf("the trace has not ended: %w", ctx.Err())
	}
}

// Pause keeps the command from reading, until it is resumed.
func (t *Trace) Pause() { t.process.signal(syscall.SIGSTOP) }

// Resume lets a paused command go on.
func (t *Trace) Resume() { t.process.signal(syscall.SIGCONT) }

// Kill ends it where that has not been done.
func (t *Trace) Kill() { t.process.kill() }

// EndsWith reports whether the end of the recording contains a text.
func (t *Trace) EndsWith(text string) bool { return strings.Contains(logTail(t.recording()), text) }

// Events are those that have been recorded so far.
func (t *Trace) Events() ([]TraceEvent, error) {
	content, err := os.ReadFile(t.recording())
	if err != nil {
		return nil, fmt.Errorf("read a trace: %w", err)
	}
	var events []TraceEvent
	for number, line := range bytes.SplitAfter(content, []byte("\n")) {
		if number == 0 || !bytes.HasSuffix(line, []byte("\n")) {
			continue // the header; what is still being written
		}
		var event TraceEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("read a trace: %w", err)
		}
		events = append(events, event)
	}
	return events, nil
}

// Read returns what the command prints of what was recorded.
func (t *Trace) Read(ctx context.Context, arguments ...string) ([]byte, error) {
	return exec.CommandContext(ctx, t.shim.options.Binary, append([]string{"trace", "--read", t.recording()}, arguments...)...).Output()
}
