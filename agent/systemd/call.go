package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"
)

// Limits of a call, besides its context.
const (
	callTimeout      = time.Minute
	jobTimeout       = 3 * time.Minute
	reconnectTimeout = 15 * time.Second // systemctl daemon-reexec takes seconds
	retryInterval    = 200 * time.Millisecond
)

// errLost is the error of a job without a result, because the connection to systemd was lost.
var errLost = errors.New("the connection to systemd was lost")

// call calls systemd. systemctl daemon-reexec ends all connections; call then connects again and
// repeats action, which may have had its effect before.
func (m *Manager) call(ctx context.Context, limit time.Duration, action func(context.Context, *dbus.Conn) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("systemd has not answered within %s", limit))
	defer cancel()
	var lost time.Time
	for {
		connection, err := m.connected(limited)
		isLost := err != nil
		if err == nil {
			err = action(limited, connection)
			isLost = err != nil && (!connection.Connected() || isDisconnection(err))
		}
		if limited.Err() != nil && err != nil {
			return context.Cause(limited)
		}
		if !isLost {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) >= reconnectTimeout {
			return err
		}
		select {
		case <-time.After(retryInterval):
		case <-limited.Done():
		}
	}
}

// isDisconnection reports whether err is that of a connection that systemd has ended.
func isDisconnection(err error) bool {
	for _, target := range []error{errLost, bus.ErrClosed, io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// run queues a job and waits for its result.
func (m *Manager) run(ctx context.Context, verb, unit string, job func(*dbus.Conn, context.Context, string, string, chan<- string) (int, error)) error {
	text := ""
	err := m.call(ctx, jobTimeout, func(ctx context.Context, connection *dbus.Conn) (err error) {
		result := make(chan string, 1)
		if _, err := job(connection, ctx, unit, "replace", result); err != nil {
			return err
		}
		text, err = awaitResult(ctx, connection, result)
		return err
	})
	if err == nil && text != "done" {
		err = fmt.Errorf("systemd reports %q; `journalctl -u %s -n 20` shows the cause", text, unit)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, unit, err)
	}
	return nil
}

// awaitResult waits for the result of a job. systemd does not report it on a new connection.
func awaitResult(ctx context.Context, connection *dbus.Conn, result <-chan string) (string, error) {
	ticker := time.NewTicker(retryInterval)
	defer ticker.Stop()
	for {
		select {
		case text := <-result:
			return text, nil
		case <-ctx.Done():
			return "", ctx.Err()
		case <-ticker.C:
			if !connection.Connected() && len(result) == 0 {
				return "", errLost
			}
		}
	}
}
