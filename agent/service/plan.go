package service

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
)

// file is a file of the desired state.
type file struct {
	path    string
	content []byte
	mode    fs.FileMode
}

// isOfService reports whether the file is a unit file of the service.
func (f file) isOfService() bool {
	return filepath.Base(f.path) == serviceUnit || f.path == dropInOf(serviceUnit)
}

// plan is the desired state of the node.
type plan struct {
	settings *config.Config
	socket   socket
	units    []file
	files    []file   // units first, the configuration last
	obsolete []string // files of keys that the Secret no longer has

	rewritten bool // a unit file of the service has been written
}

// planOf returns the desired state for the files.
func (s *Service) planOf(ctx context.Context, files Files) (*plan, error) {
	settings, err := files.parse()
	if err != nil {
		return nil, err
	}
	unit, err := s.manager.Unit(ctx, socketUnit)
	if err != nil {
		return nil, err
	}
	p := &plan{settings: settings, socket: s.socketOf(ctx, settings, unit)}
	p.units = s.unitFiles(settings, p.socket, unit)
	extras := files.extras()
	p.files = slices.Concat(p.units, extras, []file{{config.DefaultFile, files[ConfigKey], 0o600}})
	kept, err := s.originals.all()
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		isExtra := filepath.Dir(k.Path) == s.path(extrasFolder)
		if isExtra && !slices.ContainsFunc(extras, func(e file) bool { return s.path(e.path) == k.Path }) {
			p.obsolete = append(p.obsolete, k.Path)
		}
	}
	return p, nil
}

// write writes a file and creates its folder. It reports whether the file has changed.
func (s *Service) write(f file) (changed bool, err error) {
	path := s.path(f.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	if err := s.originals.expect(path, f.content); err != nil {
		return false, err
	}
	return host.WriteFile(path, f.content, f.mode)
}

// difference describes how a file differs from the desired one, or returns "".
func (s *Service) difference(f file) string {
	now, err := read(s.path(f.path))
	switch {
	case err != nil:
		return err.Error()
	case now.Missing:
		return f.path + " is missing"
	case now.Link != "" || string(now.Content) != string(f.content):
		return f.path + " was changed"
	case now.Mode != f.mode || now.Owner != host.Owner{UID: os.Geteuid(), GID: os.Getegid()}:
		return fmt.Sprintf("%s has mode %v or another owner, expected %v", f.path, now.Mode, f.mode)
	}
	return ""
}

// keepOriginals records the files that the plan replaces, and the state of the units before.
func (s *Service) keepOriginals(ctx context.Context, p *plan) error {
	known, err := s.originals.all()
	if err != nil {
		return err
	}
	// Without records, the files are those of an agent whose state was lost.
	lost := len(known) == 0 && s.isOwn()
	if err := s.rememberNode(ctx, p.settings.StateDirectory, lost); err != nil {
		return err
	}
	for _, f := range p.files {
		path := s.path(f.path)
		if lost {
			err = s.originals.write(record{Path: path, Missing: true})
		} else {
			err = s.originals.keep(path)
		}
		if err != nil {
			return fmt.Errorf("keep the original files: %w", err)
		}
	}
	return nil
}

// hasAccess reports whether the socket has the owner and mode of the plan. That of an inactive
// unit always has: it is created with them.
func (s *Service) hasAccess(p *plan, unit systemd.Unit) bool {
	info, err := os.Stat(s.path(p.socket.listen))
	return !unit.IsActive() || err == nil && info.Mode().Perm() == p.socket.mode && host.OwnerOf(info) == p.socket.owner
}
