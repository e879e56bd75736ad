package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
	"image-cri-shim/unixsocket"
)

// systemdProcess is the process that listens on the sockets of units.
const systemdProcess = 1

// checkConflicts returns an error if the plan would replace a socket or file of another program,
// or a unit that an administrator has masked. It changes nothing.
func (s *Service) checkConflicts(ctx context.Context, p *plan) error {
	for _, name := range []string{serviceUnit, socketUnit} {
		unit, err := s.manager.Unit(ctx, name)
		if err != nil {
			return err
		}
		target, _ := os.Readlink(s.path(filepath.Join(unitFolder, name))) // empty unless it is a link
		if unit.Load == "masked" || target == os.DevNull {
			return fmt.Errorf("%s is masked: run systemctl unmask %s on the node", name, name)
		}
	}
	socket, err := s.manager.Unit(ctx, socketUnit)
	if err != nil {
		return err
	}
	for _, path := range append([]string{p.socket.listen}, p.socket.aliases...) {
		if err := s.checkPath(ctx, p, path, socket); err != nil {
			return fmt.Errorf("shim: %w; choose another path", err)
		}
	}
	return nil
}

// checkPath returns an error if a path of the socket belongs to another program. systemd deletes
// what is at the path of a socket unit before it listens there.
func (s *Service) checkPath(ctx context.Context, p *plan, path string, socket systemd.Unit) error {
	info, err := os.Lstat(s.path(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	isLink := info.Mode().Type() == fs.ModeSymlink
	if !isLink && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	if !isLink && s.isRuntime(ctx, p.settings, path) {
		return fmt.Errorf("%s is the runtime's socket", path)
	}
	isListed := slices.ContainsFunc(append(slices.Clone(socket.Listen), socket.Symlinks...), func(own string) bool {
		return unixsocket.Same(s.path(own), s.path(path))
	})
	if isListed && (socket.IsActive() || isLink) || isSame(s.path(path), s.path(p.socket.listen)) && path != p.socket.listen {
		return nil // a link may lead to the runtime for an Apply that was interrupted
	}
	listener, isLive := listenerOf(ctx, s.path(path))
	if !isLive {
		return nil
	}
	service, err := s.manager.Unit(ctx, serviceUnit)
	if err != nil {
		return err
	}
	isOfService := listener == service.MainPID || isListed && listener == systemdProcess
	if service.MainPID > 0 && isOfService && !isLink {
		return nil
	}
	// If the file of a socket unit was deleted, systemd keeps its socket, but no longer reports the path.
	if listener == systemdProcess && !isLink && s.Installed() && isSame(s.path(config.ShimSocket(s.configFile())), s.path(path)) {
		return nil
	}
	return fmt.Errorf("%s is in use by another program", path)
}

// isRuntime reports whether a path is the socket of the runtime.
func (s *Service) isRuntime(ctx context.Context, settings *config.Config, path string) bool {
	runtime := settings.Runtime
	if runtime == "" {
		runtime, _ = config.DetectRuntime(ctx) // empty if no runtime answers
	}
	return runtime != "" && isSame(s.path(runtime), s.path(path))
}

// listenerOf returns the process that listens on a socket. A socket is not live if it is certain
// that no process does.
func listenerOf(ctx context.Context, path string) (process int, isLive bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return 0, !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = connection.Close() }() // nothing is written
	peer, err := unixsocket.PeerOf(connection)
	if err != nil {
		return 0, true
	}
	return peer.Process, true
}
