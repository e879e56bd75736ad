package service

import (
	"context"

	"image-cri-shim/config"
)

// NeedsRestart reports whether Apply of the files restarts the shim, or starts a stopped one.
// It changes nothing.
func (s *Service) NeedsRestart(ctx context.Context, files Files) (bool, error) {
	plan, err := s.planOf(ctx, files)
	if err != nil {
		return false, err
	}
	socket, service, err := s.readUnits(ctx)
	if err != nil {
		return false, err
	}
	if !service.IsActive() || s.isOutdated(plan, service) {
		return true, nil
	}
	if !socket.IsActive() && !s.servesOwnSocket(ctx, plan.socket, socket, service) {
		return true, nil
	}
	for _, f := range plan.units {
		if f.isOfService() && s.difference(f) != "" {
			return true, nil
		}
	}
	installed, err := config.Load(s.configFile())
	if err != nil || len(installed.NeedRestart(plan.settings)) > 0 {
		return true, nil // an invalid file counts too: the shim may not serve with it
	}
	status, err := s.status(ctx, installed)
	return err != nil || len(status.Restart) > 0, ctx.Err()
}
