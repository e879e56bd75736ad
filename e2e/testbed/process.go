package testbed

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

// stopTimeout is how long a component may take to end before it is killed.
const stopTimeout = 10 * time.Second

// pollInterval is the interval at which conditions without a notification are checked.
const pollInterval = 10 * time.Millisecond

// process is a child process whose output goes to a file.
type process struct {
	log   string
	pid   int
	ended chan struct{} // closed when the process has ended
	err   error         // of Wait; read only after ended is closed
}

// startProcess starts a command and appends its output to the file log.
// namespaces are the CLONE_ flags of the namespaces that are created for it.
func startProcess(log string, namespaces uintptr, command string, arguments ...string) (*process, error) {
	return startCommand(log, namespaces, exec.Command(command, arguments...))
}

// startCommand is like startProcess for a command with extra files or variables.
func startCommand(log string, namespaces uintptr, cmd *exec.Cmd) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: namespaces}
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
// done. The error quotes the end of the process's log.
func (p *process) waitUntil(ctx context.Context, ready func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("ended before it was ready: %w\n%s", errors.Join(p.err, err), logTail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w: %w\n%s", ctx.Err(), err, logTail(p.log))
		case <-ticker.C:
		}
	}
}

// stop sends SIGTERM, and kills the process after stopTimeout. It does nothing if the
// process has ended.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.ended:
	case <-timeout.C:
		p.kill()
	}
}

// kill sends SIGKILL and waits until the process has ended.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

func (p *process) signal(signal syscall.Signal) {
	select {
	case <-p.ended: // the kernel may have reused its ID
	default:
		_ = syscall.Kill(p.pid, signal)
	}
}

// logTail returns the end of a log, for error messages.
func logTail(log string) string {
	const enough = 4096
	content, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	return string(content[max(0, len(content)-enough):])
}
