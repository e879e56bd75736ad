package bed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The addresses are those of the network namespace of the tests, so they don't collide with
// addresses of the machine.
const (
	bridge         = "nodes"
	gateway        = "10.178.0.1"     // of the nodes; the registry listens on it
	serviceNetwork = "10.177.0.0/24"  // of services
	apiAddress     = "10.177.0.1"     // of the service kubernetes; the API server listens on it
	nodeNetwork    = "10.178.0.%d/24" // of a node, by its number
	podNetwork     = "10.179.%d.0/24" // of the pods of a node, by its number
)

// createNetwork creates the bridge that connects the nodes and the control plane. Pods reach
// the API server without kube-proxy, because the address of its service is one of the bridge.
func createNetwork(ctx context.Context) error {
	for _, command := range []string{
		"link set lo up",
		"link add " + bridge + " type bridge",
		"addr add " + gateway + "/24 dev " + bridge,
		"addr add " + apiAddress + "/32 dev " + bridge,
		"link set " + bridge + " up",
	} {
		if err := ip(ctx, command); err != nil {
			return err
		}
	}
	// Nodes reach the pods of each other through the bridge.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

// ip runs the command ip with arguments that are separated by spaces.
func ip(ctx context.Context, arguments string) error {
	output, err := exec.CommandContext(ctx, "ip", strings.Fields(arguments)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", arguments, err, bytes.TrimSpace(output))
	}
	return nil
}
