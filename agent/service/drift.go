package service

import (
	"context"
	"fmt"
	"os"
	"slices"

	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
)

// Drift returns the differences between the node and the desired state, one sentence each. It
// changes nothing.
func (s *Service) Drift(ctx context.Context, files Files) (differences []string, err error) {
	plan, err := s.planOf(ctx, files)
	if err != nil {
		return nil, err
	}
	add := func(format string, arguments ...any) {
		differences = append(differences, fmt.Sprintf(format, arguments...))
	}
	if !s.Packaged() {
		same, err := s.hasBinary(ctx)
		if err != nil {
			return nil, err
		}
		if !same {
			add("%s is missing or was changed", s.Binary())
		}
		if version, _ := os.Readlink(s.path(currentLink)); version != s.release.Version {
			add("%s does not lead to %s", currentLink, s.release.Version)
		}
	}
	for _, f := range plan.files {
		if difference := s.difference(f); difference != "" {
			add("%s", difference)
		}
	}
	if err := s.checkFiles(plan.settings, files); err != nil {
		add("%v", err)
	}
	for _, path := range plan.obsolete {
		add("%s is not removed, although its key is gone", path)
	}
	running, err := s.unitDrift(ctx, plan, add)
	if err != nil || !running {
		return differences, err
	}
	status, err := s.status(ctx, plan.settings)
	if err == nil {
		err = s.checkStatus(status)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		add("%v", err)
	case len(status.Restart) > 0:
		add("changed keys take effect after a restart: %q", status.Restart)
	}
	return differences, nil
}

// checkFiles returns an error if the shim could not start again with the files that the
// configuration names.
func (s *Service) checkFiles(settings *config.Config, files Files) error {
	if err := files.checkNamed(settings); err != nil {
		return err
	}
	placed := *settings
	placed.Registries = slices.Clone(settings.Registries)
	for i := range placed.Registries {
		if r := &placed.Registries[i]; r.CA != "" {
			r.CA = s.path(r.CA)
		}
	}
	registries, err := lookup.Open(ConfigKey, &placed, registry.Options{})
	if err != nil {
		return err
	}
	registries.Close()
	return nil
}

// unitDrift adds the differences of the units, and reports whether the service is active.
func (s *Service) unitDrift(ctx context.Context, p *plan, add func(string, ...any)) (running bool, err error) {
	socket, service, err := s.readUnits(ctx)
	if err != nil {
		return false, err
	}
	ownSocket := s.servesOwnSocket(ctx, p.socket, socket, service)
	for _, unit := range []struct {
		systemd.Unit
		name   string
		unused bool
	}{{socket, socketUnit, ownSocket}, {service, serviceUnit, false}} {
		if !unit.IsActive() && !unit.unused {
			add("%s is %s", unit.name, unit.Active)
		}
		if !unit.IsEnabled() {
			add("%s is not enabled", unit.name)
		}
		if unit.Stale {
			add("%s has changed since systemd read it", unit.name)
		}
	}
	if !s.Packaged() && !s.hasAccess(p, socket) {
		add("%s is missing, or has not the owner and mode of the runtime's socket", p.socket.listen)
	}
	if service.IsActive() && s.isOutdated(p, service) {
		add("the shim was started before its binary or unit was changed")
	}
	for _, alias := range p.socket.aliases {
		if !isSame(s.path(alias), s.path(p.socket.listen)) {
			add("%s does not lead to the shim's socket", alias)
		}
	}
	return service.IsActive(), nil
}
