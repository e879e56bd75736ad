// Package systemd controls units of the node's systemd over D-Bus.
package systemd

import (
	"context"
	"errors"
)

var errTODO = errors.New("not implemented")

// Manager is a connection to systemd.
type Manager struct{}

// Unit is the state of a unit.
type Unit struct {
	Load      string // loaded, not-found, masked, ...
	Active    string // active, inactive, failed, activating, ...
	Sub       string // the state of its type, such as running or listening
	FileState string // enabled, disabled, masked, ...; empty without a file
	Fragment  string // path of the unit file; empty without one
	MainPID   int    // of a service; 0: none
}

// Connect connects to systemd.
func Connect(ctx context.Context) (*Manager, error) { return nil, errTODO }

// Close closes the connection.
func (m *Manager) Close() {}

// Reload reads all unit files again.
func (m *Manager) Reload(ctx context.Context) error { return errTODO }

// Enable enables units.
func (m *Manager) Enable(ctx context.Context, units ...string) error { return errTODO }

// Disable disables units.
func (m *Manager) Disable(ctx context.Context, units ...string) error { return errTODO }

// Start starts a unit and waits for the result.
func (m *Manager) Start(ctx context.Context, unit string) error { return errTODO }

// Stop stops a unit and waits for the result.
func (m *Manager) Stop(ctx context.Context, unit string) error { return errTODO }

// Restart restarts a unit and waits for the result.
func (m *Manager) Restart(ctx context.Context, unit string) error { return errTODO }

// TryRestart restarts a unit if it is active, and waits for the result.
func (m *Manager) TryRestart(ctx context.Context, unit string) error { return errTODO }

// RestartNoWait asks for a restart of a unit.
func (m *Manager) RestartNoWait(ctx context.Context, unit string) error { return errTODO }

// Unit returns the state of a unit.
func (m *Manager) Unit(ctx context.Context, unit string) (Unit, error) { return Unit{}, errTODO }
