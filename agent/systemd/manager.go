// Package systemd controls units of the node's systemd over D-Bus. It uses systemd's own
// socket, which needs no D-Bus daemon, or else the system bus.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Manager is a connection to systemd. It reconnects after systemctl daemon-reexec. Its methods
// are safe for concurrent use. The context of each method bounds it, besides a limit of minutes.
type Manager struct {
	mutex      sync.Mutex
	connection *dbus.Conn
	end        context.CancelFunc // of the connection
	dial       func(ctx context.Context) (*dbus.Conn, error)
}

// Connect connects to systemd. The caller must close the Manager.
func Connect(ctx context.Context) (*Manager, error) {
	m := &Manager{dial: dial}
	_, err := m.connected(ctx)
	return m, err
}

// Close closes the connection.
func (m *Manager) Close() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.close()
}

func (m *Manager) close() {
	if m.connection != nil {
		m.connection.Close()
		m.end()
		m.connection = nil
	}
}

// connected returns a connection that works. ctx bounds the attempt, but not the connection.
func (m *Manager) connected(ctx context.Context) (*dbus.Conn, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.connection != nil && m.connection.Connected() {
		return m.connection, nil
	}
	m.close()
	lifetime, end := context.WithCancel(context.WithoutCancel(ctx))
	keep := context.AfterFunc(ctx, end)
	connection, err := m.dial(lifetime)
	if err == nil && !keep() {
		connection.Close()
		err = ctx.Err()
	}
	if err != nil {
		keep()
		end()
		return nil, fmt.Errorf("connect to systemd (is it process 1 of this node, and /run mounted?): %w", err)
	}
	m.connection, m.end = connection, end
	return connection, nil
}

// dial connects to systemd's own socket, or else to the system bus. ctx ends the connection.
func dial(ctx context.Context) (*dbus.Conn, error) {
	connection, err := dbus.NewSystemdConnectionContext(ctx)
	if err == nil || ctx.Err() != nil {
		return connection, err
	}
	connection, other := dbus.NewSystemConnectionContext(ctx)
	if other != nil {
		return nil, errors.Join(err, other)
	}
	return connection, nil
}

// Reload reads all unit files again, like systemctl daemon-reload.
func (m *Manager) Reload(ctx context.Context) error {
	err := m.call(ctx, callTimeout, func(ctx context.Context, c *dbus.Conn) error { return c.ReloadContext(ctx) })
	if err != nil {
		return fmt.Errorf("reload systemd's unit files: %w", err)
	}
	return nil
}

// Enable enables units. Links of an earlier installation are replaced.
func (m *Manager) Enable(ctx context.Context, units ...string) error {
	err := m.call(ctx, callTimeout, func(ctx context.Context, c *dbus.Conn) error {
		_, _, err := c.EnableUnitFilesContext(ctx, units, false, true)
		return err
	})
	if err != nil {
		return fmt.Errorf("enable %v: %w", units, err)
	}
	return m.Reload(ctx)
}

// Disable disables units. Units without a file are no error.
func (m *Manager) Disable(ctx context.Context, units ...string) error {
	err := m.call(ctx, callTimeout, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.DisableUnitFilesContext(ctx, units, false)
		return err
	})
	if err != nil && !isMissing(err) {
		return fmt.Errorf("disable %v: %w", units, err)
	}
	return m.Reload(ctx)
}

// Start starts a unit and waits until it is active.
func (m *Manager) Start(ctx context.Context, unit string) error {
	return m.run(ctx, "start", unit, (*dbus.Conn).StartUnitContext)
}

// Stop stops a unit and waits until it has stopped. A unit that systemd does not know is no
// error.
func (m *Manager) Stop(ctx context.Context, unit string) error {
	err := m.run(ctx, "stop", unit, (*dbus.Conn).StopUnitContext)
	if isMissing(err) {
		return nil
	}
	return err
}

// Restart starts or restarts a unit and waits until it is active.
func (m *Manager) Restart(ctx context.Context, unit string) error {
	return m.run(ctx, "restart", unit, (*dbus.Conn).RestartUnitContext)
}

// TryRestart restarts a unit if it is active, and waits until it is active again.
func (m *Manager) TryRestart(ctx context.Context, unit string) error {
	return m.run(ctx, "restart", unit, (*dbus.Conn).TryRestartUnitContext)
}

// ReloadUnit makes a unit reload its configuration, with ExecReload= of the unit, and waits for
// it.
func (m *Manager) ReloadUnit(ctx context.Context, unit string) error {
	return m.run(ctx, "reload", unit, (*dbus.Conn).ReloadUnitContext)
}

// RestartNoWait starts or restarts a unit, and returns as soon as systemd has queued the job.
func (m *Manager) RestartNoWait(ctx context.Context, unit string) error {
	err := m.call(ctx, callTimeout, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.RestartUnitContext(ctx, unit, "replace", nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("restart %s: %w", unit, err)
	}
	return nil
}

// ResetFailed resets the failed state of units. Units that systemd does not know are no error.
func (m *Manager) ResetFailed(ctx context.Context, units ...string) error {
	for _, unit := range units {
		err := m.call(ctx, callTimeout, func(ctx context.Context, c *dbus.Conn) error { return c.ResetFailedUnitContext(ctx, unit) })
		if err != nil && !isMissing(err) {
			return fmt.Errorf("reset the failure of %s: %w", unit, err)
		}
	}
	return nil
}
