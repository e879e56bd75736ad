package service

import (
	"cmp"
	"context"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
)

// RegistryResult is the result of one look-up in a registry.
type RegistryResult struct {
	Address   string
	Reachable bool
	Login     bool  // the registry answers, and the login failed
	Err       error // nil if the registry is reachable
}

// LookUp connects and logs in to each registry of the configuration once. It takes at most
// twice lookupTimeout of the configuration. A registry that refuses the login is not
// reachable, unless its authFile may have logins for parts of it. After [Service.Check], it uses the
// copies of the files that the configuration names.
func (s *Service) LookUp(ctx context.Context, settings *config.Config) ([]RegistryResult, error) {
	registries, err := lookup.Open(ConfigKey, s.stagedSettings(settings), registry.Options{})
	if err != nil {
		return nil, s.finalError(err)
	}
	defer registries.Close()
	var results []RegistryResult
	for _, probe := range registries.Probe(ctx) {
		login := probe.Login
		if probe.User == "" && usesAuthFile(settings, probe.Registry) {
			login = nil
		}
		err := s.finalError(cmp.Or(probe.Name, probe.Connection, probe.TLS, probe.Answer, login))
		results = append(results, RegistryResult{Address: probe.Registry, Reachable: err == nil, Login: login != nil, Err: err})
	}
	return results, ctx.Err()
}

// usesAuthFile reports whether the logins of a registry come from a file.
func usesAuthFile(settings *config.Config, address string) bool {
	for _, r := range settings.Registries {
		if r.HasAddress(address) {
			return r.AuthFile != ""
		}
	}
	return false
}
