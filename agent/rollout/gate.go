package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"image-cri-shim/agent/service"
	"image-cri-shim/agent/status"
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

// gate looks up the registries, and returns an error if the gate refuses the configuration.
func (a *attempt) gate(ctx context.Context) (err error) {
	hash := a.desired.Files.Hash()
	if err := a.refusal.repeat(hash); err != nil {
		return err
	}
	a.registries, err = a.Service.LookUp(ctx, a.settings)
	if err != nil && a.Gate != Off {
		return err
	}
	looked := &status.LookUp{Hash: hash, Time: time.Now()}
	for _, result := range a.registries {
		if !result.Reachable {
			a.Log.WithField("registry", result.Address).WithError(result.Err).Warn("registry can't be used")
			looked.Unreachable = append(looked.Unreachable, status.Registry{Address: result.Address, Reason: result.Err.Error()})
		}
	}
	a.Record.state.LookUp = looked // is saved with the result
	err = a.Gate.check(a.registries, a.Record.state.Reachable)
	a.refusal.record(hash, err)
	return err
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

// maxRefusal is the longest time between two look-ups of a configuration that the gate refuses.
const maxRefusal = 5 * time.Minute

// refusal delays the look-ups of a configuration that the gate refuses. All nodes of a cluster
// may have this configuration, and each look-up of a wrong login is a failed login.
type refusal struct {
	hash  string // of the configuration
	err   error  // of the last look-up
	delay time.Duration
	until time.Time
}

// repeat returns the last error during a delay, and otherwise nil.
func (r *refusal) repeat(hash string) error {
	if r.hash == hash && time.Now().Before(r.until) {
		return r.err
	}
	return nil
}

// record records the result of a look-up. There is no delay after the first error, then a minute,
// which doubles with each further error.
func (r *refusal) record(hash string, err error) {
	switch {
	case err == nil:
		*r = refusal{}
	case r.hash != hash:
		*r = refusal{hash: hash}
	default:
		r.delay = min(max(2*r.delay, time.Minute), maxRefusal)
		r.err, r.until = err, time.Now().Add(r.delay-upTo(r.delay/4))
	}
}
