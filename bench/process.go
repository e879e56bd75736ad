package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end before it is killed.
const stopTimeout = 5 * time.Second

// process is a child process whose output goes to a file.
type process struct {
	log   string
	pid   int
	ended chan struct{} // closed when the process has ended
	err   error         // of Wait; read only after ended is closed
}

// startProcess starts a command with environment added to this program's environment. The
// child is killed when this program ends.
func startProcess(log string, environment, command []string) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Env = append(os.Environ(), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{log: log, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the thread that started the
		// child ends. This thread therefore lives until the child has ended.
		runtime.LockOSThread()
		defer func() { _ = output.Close() }()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// waitUntil returns when ready returns nil. It fails if the process ends first or ctx is
// done.
func (p *process) waitUntil(ctx context.Context, ready func() error) error {
	const interval = 200 * time.Microsecond
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("ended before its first answer: %w\n%s", errors.Join(p.err, err), tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w: %w\n%s", ctx.Err(), err, tail(p.log))
		case <-time.After(interval):
		}
	}
}

// stop sends SIGTERM, and kills the process after stopTimeout. It does nothing if the
// process has ended.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

func (p *process) signal(signal syscall.Signal) {
	select {
	case <-p.ended: // the kernel may have reused its ID
	default:
		_ = syscall.Kill(p.pid, signal)
	}
}

// tail returns the end of a log, for error messages.
func tail(log string) string {
	const enough = 1024
	content, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	return string(content[max(0, len(content)-enough):])
}
