package testbed

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Host is the address of a registry, with optional credentials.
type Host struct {
	Address string // URL
	// Username and Password, if set, are sent with every request.
	Username, Password string
}

// RuntimeOptions configures a runtime.
type RuntimeOptions struct {
	Folder       string          // for its files; created if missing
	Hosts        map[string]Host // by the registry's name in image names, as in containerd's hosts.toml
	SandboxImage string          // the image that containerd pulls for each pod sandbox
	MoreHosts    string          // another folder in which containerd looks for a hosts.toml; may be empty
	Binaries     string          // folder searched for containerd's programs before PATH; empty: PATH only
	Snapshotter  string          // containerd's snapshotter; empty: native, which copies files and works on every file system
}

// Containerd is Debian's containerd with its files in a folder. It runs in its own
// process and mount namespaces, with its own /run. However it ends, its shims,
// containers and mounts end with it.
type Containerd struct {
	options RuntimeOptions
	process *process
}

// ContainerdMissing returns the reasons why containerd can't run on this machine, or nil
// if it can.
func ContainerdMissing() error {
	var problems []error
	if os.Geteuid() != 0 {
		problems = append(problems, errors.New("not root"))
	}
	for _, binary := range []string{"containerd", "containerd-shim-runc-v2", "runc", "mount"} {
		if _, err := exec.LookPath(binary); err != nil {
			problems = append(problems, fmt.Errorf("%s is not installed", binary))
		}
	}
	problems = append(problems, busyboxMissing())
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return namespacesMissing()
}

// namespaces are the clone flags of containerd's own namespaces.
const namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS

// enterNamespaces prepares the new namespaces and executes the command in $@. Mounts stay
// inside, /proc shows the new process IDs, and /run, where containerd-shim has its
// sockets, is empty.
const enterNamespaces = `mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && exec "$@"`

// namespacesMissing returns an error if root may not create namespaces and mounts here.
func namespacesMissing() error {
	cmd := exec.Command("/bin/sh", "-c", enterNamespaces, "sh", "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("namespaces and mounts are not allowed: %w %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// StartContainerd starts containerd and returns once it serves CRI.
func StartContainerd(ctx context.Context, options RuntimeOptions) (*Containerd, error) {
	c := &Containerd{options: options}
	if err := c.writeConfiguration(); err != nil {
		return nil, fmt.Errorf("configure containerd: %w", err)
	}
	return c, c.Start(ctx)
}

// Socket returns the path of the unix socket that serves CRI and containerd's API.
func (c *Containerd) Socket() string { return filepath.Join(c.options.Folder, "containerd.sock") }

// Log returns the path of the file that collects containerd's output.
func (c *Containerd) Log() string { return filepath.Join(c.options.Folder, "log") }

// Start restarts a stopped or killed containerd with the same images.
func (c *Containerd) Start(ctx context.Context) error {
	cmd := exec.Command("/bin/sh", "-c", enterNamespaces, "sh", "containerd", "--config", filepath.Join(c.options.Folder, "config.toml"))
	if c.options.Binaries != "" {
		cmd.Env = append(os.Environ(), "PATH="+c.options.Binaries+":"+os.Getenv("PATH"))
	}
	process, err := startCommand(c.Log(), namespaces, cmd)
	if err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	c.process = process
	if err := process.waitUntil(ctx, func() error { return checkCRI(ctx, c.Socket()) }); err != nil {
		process.kill()
		return fmt.Errorf("start containerd: %w", err)
	}
	return nil
}

// Command returns a command that runs in containerd's process and mount namespaces, like a
// program on containerd's host. It ends with containerd.
func (c *Containerd) Command(ctx context.Context, command string, arguments ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(c.process.pid), "--mount", "--pid", "--", command}
	return exec.CommandContext(ctx, "nsenter", append(enter, arguments...)...)
}

// Stop ends containerd and all its containers.
func (c *Containerd) Stop() {
	c.process.stop()
	removeCgroups(cgroupParent())
}

// Kill ends containerd and all its containers with SIGKILL.
func (c *Containerd) Kill() {
	c.process.kill()
	removeCgroups(cgroupParent())
}

func (c *Containerd) writeConfiguration() error {
	folder := c.options.Folder
	certificates := filepath.Join(folder, "certs.d")
	if err := os.MkdirAll(certificates, 0o700); err != nil {
		return err
	}
	for registry, host := range c.options.Hosts {
		if err := writeHost(filepath.Join(certificates, registry), host); err != nil {
			return err
		}
	}
	if c.options.MoreHosts != "" {
		certificates += ":" + c.options.MoreHosts
	}
	configuration := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
`, filepath.Join(folder, "root"), filepath.Join(folder, "state"), c.Socket(), c.options.SandboxImage,
		cmp.Or(c.options.Snapshotter, "native"), filepath.Join(folder, "net.d"), certificates)
	return os.WriteFile(filepath.Join(folder, "config.toml"), []byte(configuration), 0o600)
}

// writeHost writes the hosts.toml of one registry.
func writeHost(folder string, host Host) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var content strings.Builder
	fmt.Fprintf(&content, "server = %[1]q\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n", host.Address)
	if host.Username != "" {
		basic := base64.StdEncoding.EncodeToString([]byte(host.Username + ":" + host.Password))
		fmt.Fprintf(&content, "  [host.%q.header]\n    authorization = \"Basic %s\"\n", host.Address, basic)
	}
	return os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(content.String()), 0o600)
}

// checkCRI returns an error unless both CRI services answer on a socket.
func checkCRI(ctx context.Context, socket string) error {
	if err := checkListening(socket); err != nil {
		return err
	}
	connection, err := dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	_, versionError := runtimeapi.NewRuntimeServiceClient(connection).Version(ctx, &runtimeapi.VersionRequest{})
	_, listError := runtimeapi.NewImageServiceClient(connection).ListImages(ctx, &runtimeapi.ListImagesRequest{})
	return errors.Join(versionError, listError)
}
