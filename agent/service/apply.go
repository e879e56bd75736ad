package service

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Apply makes the node as the files and the release say: files, units, the link to the current
// version, and the running shim. It restarts the shim only if another version, a changed unit
// or a changed key needs that; the socket unit then holds the socket, so that calls wait. From a
// shim that has created its socket, the socket unit takes over at this restart, and a client may
// fail to connect. If the shim does not serve afterwards, the former files and version are
// restored. If ctx ends, nothing is restored, and the next Apply completes the work, as after a
// kill.
func (s *Service) Apply(ctx context.Context, files Files) (restarted bool, err error) {
	plan, err := s.planOf(ctx, files)
	if err != nil {
		return false, err
	}
	if err := s.checkConflicts(ctx, plan); err != nil {
		return false, err
	}
	if err := s.unstage(); err != nil {
		return false, err
	}
	if err := s.keepOriginals(ctx, plan); err != nil {
		return false, err
	}
	before, err := s.manager.Unit(ctx, serviceUnit)
	if err != nil {
		return false, err
	}
	formerVersion, _ := os.Readlink(s.path(currentLink)) // empty without one
	changed, err := s.put(ctx, plan)
	if err == nil {
		restarted, err = s.activate(ctx, plan, changed)
	}
	if err != nil && ctx.Err() != nil {
		return restarted, err // the next process continues, as after a kill
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobTimeout)
		defer cancel()
		if undoErr := s.rollBack(undo, plan.socket, formerVersion, before.IsEnabled()); undoErr != nil {
			return restarted, errors.Join(err, fmt.Errorf("restore the former files: %w", undoErr))
		}
		return restarted, err
	}
	return restarted, s.finish(plan)
}

// put writes the files of the plan, and lets systemd read changed units.
func (s *Service) put(ctx context.Context, p *plan) (changed bool, err error) {
	for _, f := range p.files {
		if err := s.saved.keep(s.path(f.path)); err != nil {
			return false, err
		}
	}
	if state := s.path(p.settings.StateDirectory); p.settings.StateDirectory != shimState {
		if err := os.MkdirAll(state, 0o700); err != nil { // must exist for ReadWritePaths=
			return false, fmt.Errorf("create the state directory: %w", err)
		}
	}
	if !s.Packaged() {
		if err := s.selectVersion(); err != nil {
			return false, err
		}
	}
	for _, f := range p.files {
		written, err := s.write(f)
		if err != nil {
			return false, err
		}
		if written {
			changed = true
			p.rewritten = p.rewritten || f.isOfService()
			s.log.WithField("file", f.path).Info("wrote a file")
		}
	}
	return changed, s.reloadUnits(ctx)
}

// reloadUnits lets systemd read the unit files, if they differ from those it has read.
func (s *Service) reloadUnits(ctx context.Context) error {
	for _, name := range []string{serviceUnit, socketUnit} {
		unit, err := s.manager.Unit(ctx, name)
		if err != nil {
			return err
		}
		if unit.Stale || unit.Load != "loaded" {
			return s.manager.Reload(ctx)
		}
	}
	return nil
}

// finish removes what the former configuration and versions needed.
func (s *Service) finish(p *plan) error {
	for _, path := range p.obsolete {
		kept, ok, err := s.originals.find(path)
		if err == nil && ok {
			err = kept.restore()
		}
		if err != nil {
			return fmt.Errorf("remove a file of the former configuration: %w", err)
		}
		if err := s.originals.drop(path); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.saved.folder); err != nil {
		return fmt.Errorf("remove the copies of the former files: %w", err)
	}
	if s.Packaged() {
		return nil
	}
	return s.removeVersions()
}

// rollBack restores the files and version before Apply, and lets the shim serve with them.
func (s *Service) rollBack(ctx context.Context, shim socket, version string, wasEnabled bool) error {
	s.log.Warn("restoring the former files and version of the shim")
	if !wasEnabled { // stopped before systemd loses its unit files
		if err := s.stop(ctx); err != nil {
			return err
		}
	}
	if err := s.Discard(); err != nil {
		return err
	}
	if !s.Packaged() {
		if err := s.deselectVersion(version); err != nil {
			return err
		}
	}
	if err := s.manager.Reload(ctx); err != nil {
		return err
	}
	if !wasEnabled {
		return nil
	}
	if err := s.manager.ResetFailed(ctx, serviceUnit, socketUnit); err != nil {
		return err
	}
	socket, service, err := s.readUnits(ctx)
	if err != nil {
		return err
	}
	if s.servesOwnSocket(ctx, shim, socket, service) { // and has refused the files
		return s.manager.ReloadUnit(ctx, serviceUnit)
	}
	return s.manager.Restart(ctx, serviceUnit)
}

// stop stops and disables the shim's units.
func (s *Service) stop(ctx context.Context) error {
	for _, name := range []string{socketUnit, serviceUnit, socketUnit} { // a client may have started the service through the socket
		if err := s.manager.Stop(ctx, name); err != nil {
			return err
		}
	}
	if err := s.manager.ResetFailed(ctx, serviceUnit, socketUnit); err != nil {
		return err
	}
	var enabled []string
	for _, name := range []string{serviceUnit, socketUnit} {
		unit, err := s.manager.Unit(ctx, name)
		if err != nil {
			return err
		}
		if unit.IsEnabled() {
			enabled = append(enabled, name)
		}
	}
	if len(enabled) == 0 {
		return nil
	}
	return s.manager.Disable(ctx, enabled...)
}
