package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// BuildShim builds the shim into folder and returns the path of the binary. flags go to
// `go build`. The source is the folder above this module, so the calling program must run
// in the folder of this module, or of a module that replaces it with a path.
func BuildShim(ctx context.Context, folder string, flags ...string) (string, error) {
	here, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "image-cri-shim/e2e").Output()
	if err != nil {
		return "", fmt.Errorf("find the shim's source: %w", err)
	}
	binary := filepath.Join(folder, "image-cri-shim")
	// -buildvcs=false: git may refuse to read another user's checkout.
	arguments := []string{"build", "-C", filepath.Dir(strings.TrimSpace(string(here))), "-buildvcs=false", "-o", binary}
	arguments = append(append(arguments, flags...), ".")
	if output, err := exec.CommandContext(ctx, "go", arguments...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the shim: %w\n%s", err, output)
	}
	return binary, nil
}

// ShimOptions configures a shim.
type ShimOptions struct {
	Binary  string // the built shim
	Folder  string // for its files; created if missing
	Runtime string // the runtime's socket
	// Configuration is appended to the keys of the sockets and the state directory. It
	// contains the registries, the credentials and the settings under test.
	Configuration string
	// Activated passes the listening socket to the shim, as systemd does, so that the
	// socket stays open while the shim restarts.
	Activated bool
}

// Shim is a running shim with its own configuration file.
type Shim struct {
	options ShimOptions
	process *process
	socket  *os.File // listening; nil if the shim creates its socket
}

// StartShim starts the shim and returns once its socket accepts connections.
func StartShim(ctx context.Context, options ShimOptions) (*Shim, error) {
	s := &Shim{options: options}
	if err := os.MkdirAll(options.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("start the shim: %w", err)
	}
	if err := s.Configure(options.Configuration); err != nil {
		return nil, err
	}
	if options.Activated {
		if err := s.listen(ctx); err != nil {
			return nil, err
		}
	}
	return s, s.Start(ctx)
}

// Configure replaces the configuration file. The shim may be running.
func (s *Shim) Configure(configuration string) error {
	content := fmt.Sprintf("shim: %s\ncri: %s\nimage: %s\n%s", s.Socket(), s.options.Runtime, s.state(), configuration)
	next := s.configuration() + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(content), 0o600), os.Rename(next, s.configuration())); err != nil {
		return fmt.Errorf("configure the shim: %w", err)
	}
	return nil
}

// Reload makes the running shim read its configuration again.
func (s *Shim) Reload() { s.process.signal(syscall.SIGHUP) }

// listen opens the socket that is passed to each start of the shim.
func (s *Shim) listen(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", s.Socket())
	if err != nil {
		return fmt.Errorf("listen for the shim: %w", err)
	}
	unixListener := listener.(*net.UnixListener)
	unixListener.SetUnlinkOnClose(false)
	s.socket, err = unixListener.File()
	if err := errors.Join(err, listener.Close()); err != nil {
		return fmt.Errorf("listen for the shim: %w", err)
	}
	return nil
}

// command returns the command that runs the shim, with the listening socket if there is
// one. LISTEN_PID must be the shim's process ID, so a shell sets it and executes the shim.
func (s *Shim) command() *exec.Cmd {
	if s.socket == nil {
		return exec.Command(s.options.Binary, "--file", s.configuration())
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", s.options.Binary, "--file", s.configuration())
	cmd.ExtraFiles = []*os.File{s.socket}
	return cmd
}

// Socket returns the path of the socket that the shim serves.
func (s *Shim) Socket() string { return filepath.Join(s.options.Folder, "shim.sock") }

// Log returns the path of the file that collects the shim's output.
func (s *Shim) Log() string { return filepath.Join(s.options.Folder, "log") }

func (s *Shim) state() string { return filepath.Join(s.options.Folder, "state") }

func (s *Shim) configuration() string { return filepath.Join(s.options.Folder, "image-cri-shim.yaml") }

// Start restarts a stopped or killed shim with the same configuration and
// state.
func (s *Shim) Start(ctx context.Context) error {
	process, err := startCommand(s.Log(), 0, s.command())
	if err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	s.process = process
	if err := process.waitUntil(ctx, func() error { return checkListening(s.Socket()) }); err != nil {
		process.kill()
		return fmt.Errorf("start the shim: %w", err)
	}
	return nil
}

// Stop ends the shim and returns its error, which is nil after a clean exit. If the socket
// was passed to the shim, it stays open, and clients wait for the next Start.
func (s *Shim) Stop() error {
	s.process.stop()
	return s.process.err
}

// CloseSocket closes the socket that is passed to an activated shim.
func (s *Shim) CloseSocket() {
	if s.socket != nil {
		_ = s.socket.Close()
	}
}

// Kill ends the shim with SIGKILL.
func (s *Shim) Kill() { s.process.kill() }

// Run runs a subcommand of the shim with the same configuration and returns its standard
// output and standard error. A non-zero exit code is not an error.
func (s *Shim) Run(ctx context.Context, command string, arguments ...string) ([]byte, error) {
	arguments = append([]string{command, "--file", s.configuration()}, arguments...)
	output, err := exec.CommandContext(ctx, s.options.Binary, arguments...).CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("run the shim's %s: %w", command, err)
	}
	return output, nil
}

// Outputs returns all output of the shim by source: its log, the files of its state
// directory, and the output of `check`.
func (s *Shim) Outputs(ctx context.Context) (map[string][]byte, error) {
	outputs := make(map[string][]byte)
	check, err := s.Run(ctx, "check")
	if err != nil {
		return nil, err
	}
	outputs["check"] = check
	if outputs["log"], err = os.ReadFile(s.Log()); err != nil {
		return nil, fmt.Errorf("read the shim's log: %w", err)
	}
	state, err := os.ReadDir(s.state())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the shim's state: %w", err)
	}
	for _, file := range state {
		if !file.Type().IsRegular() {
			continue // a socket
		}
		if outputs[file.Name()], err = os.ReadFile(filepath.Join(s.state(), file.Name())); err != nil {
			return nil, fmt.Errorf("read the shim's state: %w", err)
		}
	}
	return outputs, nil
}

// ResidentMemory returns the shim's resident memory in bytes.
func (s *Shim) ResidentMemory() (int64, error) {
	statistics, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.process.pid))
	if err != nil {
		return 0, fmt.Errorf("read the shim's memory: %w", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statistics), &size, &resident); err != nil {
		return 0, fmt.Errorf("read the shim's memory: %w", err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// PeakMemory returns the shim's peak resident memory in bytes.
func (s *Shim) PeakMemory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.pid))
	if err != nil {
		return 0, fmt.Errorf("read the shim's memory: %w", err)
	}
	_, line, _ := strings.Cut(string(status), "\nVmHWM:")
	var kibibytes int64
	if _, err := fmt.Sscan(line, &kibibytes); err != nil {
		return 0, fmt.Errorf("read the shim's memory: %w", err)
	}
	return kibibytes << 10, nil
}

// Command runs a subcommand of the shim with the same configuration, and returns its
// standard output. A non-zero exit code is an error of type [exec.ExitError].
func (s *Shim) Command(ctx context.Context, arguments ...string) ([]byte, error) {
	return exec.CommandContext(ctx, s.options.Binary, append([]string{"--file", s.configuration()}, arguments...)...).Output()
}

// StateFile returns the content of a file in the state directory, or nil if the file does
// not exist.
func (s *Shim) StateFile(name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(s.state(), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// Pause stops the shim's process with SIGSTOP. Kill still ends it.
func (s *Shim) Pause() { s.process.signal(syscall.SIGSTOP) }
