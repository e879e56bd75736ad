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
	"slices"
	"strings"
	"syscall"
	"time"
)

// BuildShim builds the shim into folder and returns the binary's path. The source is
// the folder above this module, so the calling program must run in the folder of this
// module or of one that replaces it by a path. flags go to `go build`.
func BuildShim(ctx context.Context, folder string, flags ...string) (string, error) {
	here, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "image-cri-shim/e2e").Output()
	if err != nil {
		return "", fmt.Errorf("find the shim's source: %w", err)
	}
	binary := filepath.Join(folder, "image-cri-shim")
	// git may refuse to say anything about another user's checkout.
	arguments := []string{"build", "-C", filepath.Dir(strings.TrimSpace(string(here))), "-buildvcs=false", "-o", binary}
	arguments = append(append(arguments, flags...), ".")
	if output, err := exec.CommandContext(ctx, "go", arguments...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the shim: %w\n%s", err, output)
	}
	return binary, nil
}

// ShimOptions says what shim to start.
type ShimOptions struct {
	Binary  string // the built shim
	Folder  string // its files; created where missing
	Runtime string // the runtime's socket
	// Configuration is added to the keys that name the sockets and the state
	// directory: registries, credentials, everything that is under test.
	Configuration string
	// Activated gives the shim its listening socket, as systemd does, so that the
	// socket stays while the shim is restarted.
	Activated bool
}

// Shim is the built shim, running with a configuration file of its own.
type Shim struct {
	options ShimOptions
	process *process
	socket  *os.File // listening; nil where the shim makes its own
}

// Decision is what the shim's log says about one image name.
type Decision struct {
	Method                          string // "PullImage"
	Asked, Served, Registry, Reason string
	Names                           string // where the name of a pulled image is kept
	Level                           string // "info"
}

// StartShim starts the shim and returns when its socket accepts connections.
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

// Configure replaces the configuration of a shim, which may be running.
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

// listen opens the socket that all runs of the shim share.
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

// command runs the shim, with the listening socket where it has one. Whose it is
// says a process ID, which only the process itself knows before it begins.
func (s *Shim) command() *exec.Cmd {
	if s.socket == nil {
		return exec.Command(s.options.Binary, "--file", s.configuration())
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", s.options.Binary, "--file", s.configuration())
	cmd.ExtraFiles = []*os.File{s.socket}
	return cmd
}

// Socket is the path of the socket that the shim serves.
func (s *Shim) Socket() string { return filepath.Join(s.options.Folder, "shim.sock") }

// Log is the file that holds what the shim printed.
func (s *Shim) Log() string { return filepath.Join(s.options.Folder, "log") }

func (s *Shim) state() string { return filepath.Join(s.options.Folder, "state") }

func (s *Shim) configuration() string { return filepath.Join(s.options.Folder, "image-cri-shim.yaml") }

// Start starts a stopped or killed shim again, with the same configuration and
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

// Stop ends the shim and returns its error: one that ends as it should has none. Where
// the shim was given its socket, clients wait for the next Start.
func (s *Shim) Stop() error {
	s.process.stop()
	return s.process.err
}

// CloseSocket closes the socket that an activated shim's runs share.
func (s *Shim) CloseSocket() {
	if s.socket != nil {
		_ = s.socket.Close()
	}
}

// Kill ends the shim with SIGKILL.
func (s *Shim) Kill() { s.process.kill() }

// Run runs another command of the shim, with the same configuration, and returns
// everything it prints. Its exit code is not an error.
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

// Outputs returns all output of the shim by its source: its log, the files of its state
// directory, and its description of its configuration.
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

// ResidentMemory is how many bytes of the machine's memory the shim takes.
func (s *Shim) ResidentMemory() (int64, error) {
	statistics, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.process.pid))
	if err != nil {
		return 0, fmt.Errorf("look at the shim's memory: %w", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statistics), &size, &resident); err != nil {
		return 0, fmt.Errorf("look at the shim's memory: %w", err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// PeakMemory is how many bytes of the machine's memory the shim has ever taken at once.
func (s *Shim) PeakMemory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.pid))
	if err != nil {
		return 0, fmt.Errorf("look at the shim's memory: %w", err)
	}
	_, line, _ := strings.Cut(string(status), "\nVmHWM:")
	var kibibytes int64
	if _, err := fmt.Sscan(line, &kibibytes); err != nil {
		return 0, fmt.Errorf("look at the shim's memory: %w", err)
	}
	return kibibytes << 10, nil
}

// Decision waits until the shim has logged what a method did about a name, and
// returns the latest such line.
func (s *Shim) Decision(ctx context.Context, method, asked string) (Decision, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		decisions, err := s.decisions()
		if err != nil {
			return Decision{}, err
		}
		for _, decision := range slices.Backward(decisions) {
			if decision.Method == method && decision.Asked == asked {
				return decision, nil
			}
		}
		select {
		case <-ctx.Done():
			return Decision{}, fmt.Errorf("the shim has logged no %s of %s: %w", method, asked, ctx.Err())
		case <-ticker.C:
		}
	}
}

// decisions returns what the shim has logged about names, oldest first.
func (s *Shim) decisions() ([]Decision, error) {
	content, err := os.ReadFile(s.Log())
	if err != nil {
		return nil, fmt.Errorf("read the shim's log: %w", err)
	}
	var decisions []Decision
	for line := range strings.Lines(string(content)) {
		fields := logFields(strings.TrimSuffix(line, "\n"))
		if _, ok := fields["asked"]; ok {
			decisions = append(decisions, Decision{
				Method: fields["msg"], Asked: fields["asked"], Served: fields["served"],
				Registry: fields["registry"], Reason: fields["reason"], Names: fields["names"], Level: fields["level"],
			})
		}
	}
	return decisions, nil
}

// Command runs another command of the shim's program on the running shim's
// configuration, and returns what it prints on standard output. An exit code other
// than 0 is an error of type [exec.ExitError].
func (s *Shim) Command(ctx context.Context, arguments ...string) ([]byte, error) {
	return exec.CommandContext(ctx, s.options.Binary, append([]string{"--file", s.configuration()}, arguments...)...).Output()
}

// StateFile returns the content of a file in the state directory, nothing if there is none.
func (s *Shim) StateFile(name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(s.state(), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// Pause stops the shim's process where it is, until Kill.
func (s *Shim) Pause() { s.process.signal(syscall.SIGSTOP) }
