package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"image-cri-shim/agent/host"
)

// Remove stops the shim and removes its files. The files and units that were there before are
// restored, and run again if they ran before. A configuration that was edited since the last
// Apply stays; the original is then written beside it, with the ending .original.
//
// No client may be pointed at the shim. Remove may be called again after a failure, and does
// nothing if nothing is installed.
func (s *Service) Remove(ctx context.Context) error {
	before, known, err := s.nodeBefore()
	if err != nil {
		return err
	}
	if !known {
		if !s.isOwn() {
			return s.removeRest()
		}
		before = lostNode()
	}
	if err := s.recordVersions(); err != nil { // the links may be removed before the binaries
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	if err := s.Discard(); err != nil {
		return err
	}
	aliases, err := s.aliases(ctx)
	if err != nil {
		return err
	}
	if err := s.stop(ctx); err != nil {
		return err
	}
	if err := removeLinks(aliases); err != nil {
		return err
	}
	if err := s.removeState(before); err != nil {
		return err
	}
	if err := s.restoreOriginals(); err != nil {
		return err
	}
	if err := s.manager.Reload(ctx); err != nil {
		return err
	}
	if err := s.removeFolders(before); err != nil {
		return err
	}
	if err := s.restoreUnits(ctx, before); err != nil {
		return err
	}
	if err := s.removeRecords(); err != nil {
		return err
	}
	s.log.Info("removed the shim")
	return nil
}

// removeRest removes the binaries of an installation without units: they were not written yet, or
// were removed.
func (s *Service) removeRest() error {
	if !s.Installed() {
		return nil
	}
	if err := s.Discard(); err != nil {
		return err
	}
	if err := s.removeAllVersions(); err != nil {
		return err
	}
	return s.removeRecords()
}

func (s *Service) removeRecords() error {
	if err := os.RemoveAll(s.originals.folder); err != nil {
		return fmt.Errorf("remove the copies of the original files: %w", err)
	}
	return nil
}

// aliases returns the symbolic links to the shim's socket.
func (s *Service) aliases(ctx context.Context) (links []string, err error) {
	unit, err := s.manager.Unit(ctx, socketUnit)
	for _, link := range unit.Symlinks {
		links = append(links, s.path(link))
	}
	return links, err
}

// removeLinks removes symbolic links that lead nowhere. systemd removes them with the socket.
func removeLinks(links []string) error {
	for _, link := range links {
		info, err := os.Lstat(link)
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			continue
		}
		if _, err := os.Stat(link); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(link); err != nil {
				return err
			}
		}
	}
	return nil
}

// restoreOriginals restores the files that were there before, and removes the others.
func (s *Service) restoreOriginals() error {
	originals, err := s.originals.all()
	if err != nil {
		return err
	}
	for _, original := range originals {
		isUnit := strings.HasPrefix(original.Path, s.path(unitFolder))
		if !isUnit && original.Lost && original.isEdited() {
			s.log.WithField("file", original.Path).Warn("keeping a file that may have been there before: its record was lost")
			continue
		}
		if !isUnit && !original.Missing && original.isEdited() {
			s.log.WithField("file", original.Path).Warn("keeping a file that was edited; the original is beside it, with the ending .original")
			original.Path += ".original"
		}
		if err := original.restore(); err != nil {
			return fmt.Errorf("restore the original files: %w", err)
		}
	}
	if len(originals) == 0 { // the record was lost
		for _, unit := range []string{socketUnit, serviceUnit} {
			if err := host.Remove(s.path(filepath.Join(unitFolder, unit))); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeState removes the shim's state, unless a package or an earlier shim owns it.
func (s *Service) removeState(before nodeBefore) error {
	if s.Packaged() {
		return nil
	}
	for _, state := range before.States {
		if err := state.remove(s.path(state.Path)); err != nil {
			return fmt.Errorf("remove the shim's state: %w", err)
		}
	}
	return nil
}

// removeFolders removes the binaries and the folders of the agent.
func (s *Service) removeFolders(before nodeBefore) error {
	for _, folder := range []string{filepath.Dir(dropInOf(socketUnit)), filepath.Dir(dropInOf(serviceUnit))} {
		removeIfEmpty(s.path(folder))
	}
	if !before.Extras {
		removeIfEmpty(s.path(extrasFolder))
	}
	return s.removeAllVersions()
}

// removeIfEmpty removes a folder. One that is not empty has files of others, and stays.
func removeIfEmpty(folder string) { _ = os.Remove(folder) }

// restoreUnits enables and starts the units that were enabled and active before.
func (s *Service) restoreUnits(ctx context.Context, before nodeBefore) error {
	for _, name := range []string{socketUnit, serviceUnit} {
		unit := before.Units[name]
		if unit.Enabled {
			if err := s.manager.Enable(ctx, name); err != nil {
				return err
			}
		}
		if unit.Active {
			if err := s.manager.Start(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}
