package rollout

import (
	"fmt"
	"slices"
	"strings"

	"image-cri-shim/agent/service"
)

// Gate decides whether registries that can't be reached prevent a new configuration.
type Gate string

// The gates.
const (
	WasReachable Gate = "was-reachable" // those that were reached with the last configuration
	All          Gate = "all"
	Off          Gate = "off"
)

// Gates lists the gates.
var Gates = []Gate{WasReachable, All, Off}

// check returns an error if the gate refuses results. before are the addresses of the
// registries that were reached with the last configuration.
func (g Gate) check(results []service.RegistryResult, before []string) error {
	var refused []string
	for _, result := range results {
		if result.Reachable || g == Off || g == WasReachable && !slices.Contains(before, result.Address) {
			continue
		}
		refused = append(refused, fmt.Sprintf("%s: %v", result.Address, result.Err))
	}
	switch {
	case len(refused) == 0:
		return nil
	case g == All:
		return fmt.Errorf("registries can't be reached: %s; the gate requires all of them", strings.Join(refused, "; "))
	}
	return fmt.Errorf("registries can't be reached that the former configuration reached: %s; correct their addresses, or set the registry gate to off", strings.Join(refused, "; "))
}

// reachable returns the addresses of the registries that were reached.
func reachable(results []service.RegistryResult) (addresses []string) {
	for _, result := range results {
		if result.Reachable {
			addresses = append(addresses, result.Address)
		}
	}
	return addresses
}
