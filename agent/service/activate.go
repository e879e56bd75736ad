package service

import (
	"context"
	"fmt"
	"os"
	"time"

	"image-cri-shim/admin"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

const (
	reloadTimeout = 10 * time.Second       // of the shim's reload, which waits until the file has settled
	pollInterval  = 100 * time.Millisecond // between two requests to the shim
)

// activate enables and starts the units, and lets the running shim use the plan. changed is
// set if a file has changed.
func (s *Service) activate(ctx context.Context, p *plan, changed bool) (restarted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	if err := s.enable(ctx); err != nil {
		return false, err
	}
	socket, service, err := s.readUnits(ctx)
	if err != nil {
		return false, err
	}
	isHeld := socket.IsActive() && exists(s.path(p.socket.listen))
	if isHeld || s.servesOwnSocket(ctx, p.socket, socket, service) {
		if err := s.adjustSocket(p, socket); err != nil {
			return false, err
		}
		if service.IsActive() && !s.isOutdated(p, service) {
			reloaded, err := s.reload(ctx, p, changed)
			if reloaded || err != nil {
				return false, err
			}
		}
	}
	if !isHeld {
		return true, s.startBoth(ctx, p, service)
	}
	s.log.Info("restarting the shim")
	if err := s.manager.Restart(ctx, serviceUnit); err != nil {
		return true, err
	}
	return true, s.awaitServing(ctx, p)
}

// enable enables the units, unless they are enabled.
func (s *Service) enable(ctx context.Context) error {
	for _, name := range []string{serviceUnit, socketUnit} {
		unit, err := s.manager.Unit(ctx, name)
		if err != nil {
			return err
		}
		if !unit.IsEnabled() {
			if err := s.manager.Enable(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// readUnits returns the states of both units.
func (s *Service) readUnits(ctx context.Context) (socket, service systemd.Unit, err error) {
	if socket, err = s.manager.Unit(ctx, socketUnit); err == nil {
		service, err = s.manager.Unit(ctx, serviceUnit)
	}
	return socket, service, err
}

// startBoth starts the socket unit and then the service. A service that runs without the
// socket unit, or without a socket file, must stop before. Until the socket unit has the
// socket, its path leads to the runtime, so that calls succeed. systemd does not replace the
// link atomically: a connection may fail in between. Clients that connect before it use
// the runtime until they connect again.
func (s *Service) startBoth(ctx context.Context, p *plan, service systemd.Unit) error {
	shim := s.path(p.socket.listen)
	if service.IsActive() && isServed(ctx, shim) {
		runtime := p.settings.Runtime
		if runtime == "" {
			runtime, _ = config.DetectRuntime(ctx) // empty if no runtime answers
		}
		if runtime != "" {
			s.log.Info("the socket unit takes over the shim's socket; clients that connect meanwhile use the runtime until they connect again")
			if err := linkTo(shim, s.path(runtime)); err != nil {
				return err
			}
		}
	}
	if service.Active != "inactive" {
		for _, unit := range []string{serviceUnit, socketUnit} {
			if err := s.manager.Stop(ctx, unit); err != nil {
				return err
			}
		}
	}
	if err := s.manager.ResetFailed(ctx, socketUnit, serviceUnit); err != nil {
		return err
	}
	for _, unit := range []string{socketUnit, serviceUnit} {
		if err := s.manager.Start(ctx, unit); err != nil {
			return err
		}
	}
	return s.awaitServing(ctx, p)
}

// isOutdated reports whether the running shim executes another binary than the installed one, or was
// started before its unit files were written. A file from the future, as after the clock was set
// back, does not count.
func (s *Service) isOutdated(p *plan, service systemd.Unit) bool {
	if !s.runsBinary(service) || p.rewritten {
		return true
	}
	for _, f := range p.units {
		if !f.isOfService() {
			continue
		}
		info, err := os.Stat(s.path(f.path))
		if err == nil && info.ModTime().After(service.Started) && !info.ModTime().After(time.Now()) {
			return true
		}
	}
	return false
}

// runsBinary reports whether the main process of the service executes the installed binary.
func (s *Service) runsBinary(service systemd.Unit) bool {
	return service.MainPID > 0 && isSame(fmt.Sprintf("/proc/%d/exe", service.MainPID), s.path(s.Binary()))
}

// reload lets the running shim read changed files, and reports whether it uses all of them. It
// returns an error if the shim refuses the configuration.
func (s *Service) reload(ctx context.Context, p *plan, changed bool) (complete bool, err error) {
	status, err := s.status(ctx, p.settings)
	if err != nil {
		return false, nil // hangs, or has another state directory
	}
	if changed || status.Refused != "" {
		before := status
		if err := s.manager.ReloadUnit(ctx, serviceUnit); err != nil {
			return false, err
		}
		deadline, cancel := context.WithTimeout(ctx, reloadTimeout)
		defer cancel()
		for !status.Read.After(before.Read) {
			ended := !pause(deadline)
			if status.Refused != "" && (ended || status.Refused != before.Refused) {
				return false, fmt.Errorf("the shim refuses the configuration: %s", status.Refused)
			}
			if ended {
				return false, ctx.Err()
			}
			if status, err = s.status(deadline, p.settings); err != nil {
				return false, ctx.Err()
			}
		}
	}
	return len(status.Restart) == 0, nil
}

// awaitServing waits until the started shim answers with the version and configuration of
// the plan.
func (s *Service) awaitServing(ctx context.Context, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	for {
		status, err := s.status(ctx, p.settings)
		if err == nil {
			return s.checkStatus(status)
		}
		if !pause(ctx) {
			return fmt.Errorf("the shim does not answer after its start: %w", err)
		}
	}
}

// checkStatus returns an error unless the running shim has the version of the release and its
// configuration in force.
func (s *Service) checkStatus(status explain.ShimStatus) error {
	if !s.Packaged() && status.Version != s.release.Version {
		return fmt.Errorf("the shim serves as version %.80q, expected %q", status.Version, s.release.Version)
	}
	if status.Refused != "" {
		return fmt.Errorf("the shim refuses the configuration: %s", status.Refused)
	}
	return nil
}

// status returns the state that the running shim reports.
func (s *Service) status(ctx context.Context, settings *config.Config) (status explain.ShimStatus, err error) {
	err = admin.Get(ctx, admin.Socket(s.path(settings.StateDirectory)), admin.AboutPath, nil, &status)
	return status, err
}

// pause waits until the next request is due. It reports false once ctx has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pollInterval):
		return true
	}
}
