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
	WasReachable Gate = "was-reachable" // those that were reached with the last configuration, and at least one
	All          Gate = "all"
	Off          Gate = "off"
)

// Gates lists the gates.
var Gates = []Gate{WasReachable, All, Off}

// check returns an error if the gate refuses results. before are the addresses of the
// registries that were reached with the last configuration.
func (g Gate) check(results []service.RegistryResult, before []string) error {
	none := !slices.ContainsFunc(results, func(r service.RegistryResult) bool { return r.Reachable })
	var lost, logins []string
	for _, result := range results {
		if result.Reachable || g == Off || g == WasReachable && !none && !slices.Contains(before, result.Address) {
			continue
		}
		reason := fmt.Sprintf("%s: %v", result.Address, result.Err)
		if result.Login {
			logins = append(logins, reason)
		} else {
			lost = append(lost, reason)
		}
	}
	if len(lost)+len(logins) == 0 {
		return nil
	}
	which := " that the former configuration reached"
	if none || g == All {
		which = ""
	}
	var texts []string
	if len(lost) > 0 {
		texts = append(texts, fmt.Sprintf("registries can't be reached%s: %s; correct their addresses", which, strings.Join(lost, "; ")))
	}
	if len(logins) > 0 {
		texts = append(texts, fmt.Sprintf("registries%s refuse the login: %s; correct the login", which, strings.Join(logins, "; ")))
	}
	rule := "the gate refuses registries that were reachable"
	switch {
	case g == All:
		rule = "the gate requires all registries"
	case none:
		rule = "the gate requires one registry at least"
	}
	return fmt.Errorf("%s, or set registryGate to off (%s)", strings.Join(texts, ", and "), rule)
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
