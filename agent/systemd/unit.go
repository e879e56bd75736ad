package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"
)

// Unit is the state of a unit.
type Unit struct {
	Load      string // loaded, not-found, masked, ...
	Active    string // active, inactive, failed, activating, ...
	Sub       string // state of its type, such as running or listening
	FileState string // enabled, disabled, masked, ...; empty without a file
	Fragment  string // path of its unit file; empty without one
	Stale     bool   // its files have changed since systemd read them

	MainPID int       // of a service; 0: none
	Started time.Time // when the main process was started; zero: never

	Listen   []string // paths and addresses of a socket unit
	Symlinks []string // further paths that lead to the socket
}

// IsActive reports whether the unit is active.
func (u Unit) IsActive() bool { return u.Active == "active" }

// IsEnabled reports whether the unit starts at boot.
func (u Unit) IsEnabled() bool { return u.FileState == "enabled" }

// Unit returns the state of a unit. A unit without a file is not-found and inactive.
func (m *Manager) Unit(ctx context.Context, unit string) (u Unit, err error) {
	err = m.call(ctx, callTimeout, func(ctx context.Context, connection *dbus.Conn) (err error) {
		u, err = readUnit(ctx, connection, unit)
		return err
	})
	if err != nil {
		return Unit{}, fmt.Errorf("read the state of %s: %w", unit, err)
	}
	return u, nil
}

func readUnit(ctx context.Context, connection *dbus.Conn, unit string) (Unit, error) {
	common, err := connection.GetUnitPropertiesContext(ctx, unit)
	if err != nil {
		return Unit{}, err
	}
	u := Unit{
		Load:      property[string](common, "LoadState"),
		Active:    property[string](common, "ActiveState"),
		Sub:       property[string](common, "SubState"),
		FileState: property[string](common, "UnitFileState"),
		Fragment:  property[string](common, "FragmentPath"),
		Stale:     property[bool](common, "NeedDaemonReload"),
	}
	kind := map[string]string{".service": "Service", ".socket": "Socket"}[path.Ext(unit)]
	if kind == "" || u.Load != "loaded" {
		return u, nil
	}
	special, err := connection.GetUnitTypePropertiesContext(ctx, unit, kind)
	if err != nil {
		return Unit{}, err
	}
	u.MainPID = int(property[uint32](special, "MainPID"))
	if micros := property[uint64](special, "ExecMainStartTimestamp"); micros > 0 {
		u.Started = time.UnixMicro(int64(micros))
	}
	for _, listen := range property[[][]any](special, "Listen") {
		if len(listen) == 2 {
			if address, ok := listen[1].(string); ok {
				u.Listen = append(u.Listen, address)
			}
		}
	}
	u.Symlinks = property[[]string](special, "Symlinks")
	return u, nil
}

// property returns a property, or the zero value if it is missing or has another type.
func property[T any](properties map[string]any, name string) T {
	value, _ := properties[name].(T)
	return value
}

// isMissing reports whether systemd refused a request because the unit has no file.
func isMissing(err error) bool {
	failed, ok := errors.AsType[bus.Error](err)
	return ok && (failed.Name == "org.freedesktop.systemd1.NoSuchUnit" || failed.Name == "org.freedesktop.DBus.Error.FileNotFound")
}
