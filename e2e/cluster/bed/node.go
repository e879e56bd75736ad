package bed

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Node is a machine of the cluster with its own systemd. Its root file system is this
// machine's with changes of its own, which survive a reboot.
type Node struct {
	Name string

	number  int
	folder  string
	boots   int
	process *process // process 1; nil if the node is down
}

// nodeScript prepares the namespaces of a node.
//
//go:embed node.sh
var nodeScript string

const nodeNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// newNode creates the files of a node.
func newNode(folder string, number int, authority *authority) (*Node, error) {
	n := &Node{Name: fmt.Sprintf("node%d", number), number: number}
	n.folder = filepath.Join(folder, n.Name)
	if err := n.writeFiles(authority); err != nil {
		return nil, fmt.Errorf("create the files of %s: %w", n.Name, err)
	}
	return n, nil
}

// Address returns the node's IP address.
func (n *Node) Address() string { return strings.TrimSuffix(n.prefix(), "/24") }

func (n *Node) prefix() string     { return fmt.Sprintf(nodeNetwork, 10+n.number) }
func (n *Node) podNetwork() string { return fmt.Sprintf(podNetwork, n.number) }

// Boot starts the node and returns once systemd has started its services.
func (n *Node) Boot(ctx context.Context) error {
	kubelet, err := program("components")
	if err != nil {
		return err
	}
	attached, attach := io.Pipe()
	command := exec.Command("/bin/sh", "-c", nodeScript, "node.sh",
		n.folder, group(filepath.Dir(n.folder), n.Name), n.Name, n.prefix(), gateway, kubelet)
	command.Stdin = attached
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: nodeNamespaces}
	if n.process, err = startProcess(n.folder+".log", command); err != nil {
		return fmt.Errorf("boot %s: %w", n.Name, err)
	}
	if err = n.attach(ctx); err == nil {
		_, err = io.WriteString(attach, "attached\n")
	}
	err = errors.Join(err, attach.Close())
	if err == nil {
		err = n.process.await(ctx, func(ctx context.Context) error {
			_, err := n.Run(ctx, "systemctl", "is-active", "multi-user.target")
			return err
		})
	}
	if err != nil {
		n.PowerOff()
		return fmt.Errorf("boot %s: %w", n.Name, err)
	}
	return nil
}

// attach connects the node's network namespace to the bridge. The kernel removes the devices
// with the namespace, some time after the node's end, so each boot has new names.
func (n *Node) attach(ctx context.Context) error {
	n.boots++
	device := fmt.Sprintf("%s-%d", n.Name, n.boots)
	for _, command := range []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", device, n.pid()),
		fmt.Sprintf("link set %s master %s up", device, bridge),
		fmt.Sprintf("route replace %s via %s", n.podNetwork(), n.Address()),
	} {
		if err := ip(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) pid() int { return n.process.command.Process.Pid }

// PowerOff ends all processes of the node at once, like a power failure. Its files remain.
func (n *Node) PowerOff() {
	if n.process != nil {
		n.process.kill()
		n.process = nil
	}
}

// Reboot shuts the node down and boots it again.
func (n *Node) Reboot(ctx context.Context) error {
	if _, err := n.Run(ctx, "systemctl", "--no-block", "reboot"); err != nil {
		return err
	}
	select {
	case <-n.process.ended:
	case <-ctx.Done():
		return fmt.Errorf("shut %s down: %w", n.Name, ctx.Err())
	}
	n.process = nil
	return n.Boot(ctx)
}

// Path returns the path under which this process finds a file or socket of the running node.
func (n *Node) Path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(n.pid()), "root", file)
}

// Run runs a command on the node and returns its output. An error contains the output too.
func (n *Node) Run(ctx context.Context, command ...string) (string, error) {
	return n.RunWith(ctx, nil, command...)
}

// RunWith is like [Node.Run] with a standard input.
func (n *Node) RunWith(ctx context.Context, input io.Reader, command ...string) (string, error) {
	if n.process == nil {
		return "", fmt.Errorf("%s on %s: the node is down", command, n.Name)
	}
	enter := []string{"--target", strconv.Itoa(n.pid()), "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--wdns=/", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, command...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin = input
	cmd.WaitDelay = 5 * time.Second // children of a killed command may hold its output
	output, err := cmd.CombinedOutput()
	output = bytes.TrimSpace(output)
	if err != nil {
		return string(output), fmt.Errorf("%s on %s: %w: %s", command, n.Name, err, output)
	}
	return string(output), nil
}

// Log returns the end of the journal of the node's units, for the message of a failure.
func (n *Node) Log(ctx context.Context, units ...string) string {
	arguments := []string{"journalctl", "--no-pager", "--lines", "60"}
	for _, unit := range units {
		arguments = append(arguments, "--unit", unit)
	}
	output, err := n.Run(ctx, arguments...)
	if err != nil {
		return err.Error()
	}
	return output
}

// ReadFile returns the content of a file of the running node.
func (n *Node) ReadFile(file string) ([]byte, error) { return os.ReadFile(n.Path(file)) }
