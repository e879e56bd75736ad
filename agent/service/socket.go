package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/systemd"
)

// adjustSocket gives the socket its owner and mode, and creates its aliases.
func (s *Service) adjustSocket(p *plan, unit systemd.Unit) error {
	if !s.Packaged() && !s.hasAccess(p, unit) {
		path := s.path(p.socket.listen)
		if err := errors.Join(os.Chown(path, p.socket.owner.UID, p.socket.owner.GID), os.Chmod(path, p.socket.mode)); err != nil {
			return fmt.Errorf("set the owner of the shim's socket: %w", err)
		}
	}
	for _, alias := range p.socket.aliases {
		path := s.path(alias)
		if isSame(path, s.path(p.socket.listen)) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := linkTo(path, s.path(p.socket.listen)); err != nil {
			return err
		}
		s.log.WithField("shim", alias).Info("the former path of the socket remains, the new one leads to it")
	}
	return nil
}

// servesOwnSocket reports whether the shim of a package runs without its socket unit, on a socket
// that it has created. It keeps this socket until it must be restarted, because connections may
// fail when the socket unit takes over. The enabled unit has the socket from the next boot on.
func (s *Service) servesOwnSocket(ctx context.Context, shim socket, unit, service systemd.Unit) bool {
	if !s.Packaged() || unit.Active != "inactive" || !service.IsActive() {
		return false
	}
	info, err := os.Lstat(s.path(shim.listen))
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	listener, isLive := listenerOf(ctx, s.path(shim.listen))
	return isLive && listener == service.MainPID
}

// linkTo makes path a relative symbolic link to a socket. A relative one also leads to the socket
// in a container that mounts the node's root.
func linkTo(path, socket string) error {
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return err
	}
	target, err := filepath.Rel(folder, socket)
	if err != nil {
		return err
	}
	_, err = host.ReplaceSymlink(path, target)
	return err
}

// isSame reports whether both paths lead to the same file.
func isSame(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// isServed reports whether a process accepts connections on a socket.
func isServed(ctx context.Context, path string) bool {
	_, isLive := listenerOf(ctx, path)
	return isLive
}
