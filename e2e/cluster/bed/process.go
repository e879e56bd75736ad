package bed

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// pollInterval is the interval at which conditions without a notification are checked.
const pollInterval = 100 * time.Millisecond

// Await returns once condition returns nil. If ctx ends first, its error contains the last
// error of condition.
func Await(ctx context.Context, condition func(context.Context) error) error {
	return AwaitEvery(ctx, pollInterval, condition)
}

// AwaitEvery is like [Await] with another interval between the calls of condition.
func AwaitEvery(ctx context.Context, interval time.Duration, condition func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-ticker.C:
		}
	}
}

// process is a child process whose output goes to a file.
type process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{} // closed when the process has ended
	err     error         // of Wait; read only after ended is closed
}

// startProcess starts a command and appends its output to the file log.
func startProcess(log string, command *exec.Cmd) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		_ = output.Close()
		return nil, err
	}
	p := &process{command: command, log: log, ended: make(chan struct{})}
	go func() { // until the process has ended
		p.err = command.Wait()
		_ = output.Close()
		close(p.ended)
	}()
	return p, nil
}

// await is like [Await], but fails if the process ends. The error quotes the end of the log.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // until await returns
		select {
		case <-p.ended:
			cancel(fmt.Errorf("the process ended: %s", p.command.ProcessState))
		case <-ctx.Done():
		}
	}()
	if err := Await(ctx, ready); err != nil {
		return fmt.Errorf("%w: %w\n%s", context.Cause(ctx), err, tail(p.log))
	}
	return nil
}

// kill sends SIGKILL and waits until the process has ended.
func (p *process) kill() {
	_ = p.command.Process.Signal(syscall.SIGKILL)
	<-p.ended
}

// tail returns the end of a file, for error messages.
func tail(path string) string {
	const enough = 4096
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > enough {
		_, _ = file.Seek(-enough, io.SeekEnd)
	}
	content, _ := io.ReadAll(io.LimitReader(file, enough))
	return string(content)
}
