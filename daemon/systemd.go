package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"

	"image-cri-shim/unixsocket"
)

// notify sends lines to systemd (sd_notify(3)). Without systemd it does nothing. Errors are
// ignored, because serving does not depend on systemd.
func notify(lines ...string) { _, _ = systemd.SdNotify(false, strings.Join(lines, "\n")) }

// notify sends lines to systemd once the daemon serves. Before that, the unit is starting.
func (d *daemon) notify(lines ...string) {
	if d.serving.Load() {
		notify(lines...)
	}
}

// servingLine returns the status line for `systemctl status` while the daemon serves.
func (d *daemon) servingLine() string { return "STATUS=serving " + d.settings.Shim }

// errorLimit bounds the text of an error in a status line, in bytes. systemd ignores
// messages of more than 4096.
const errorLimit = 3000

// watchdog notifies systemd's watchdog as long as the socket accepts connections, until end
// is called. Without WatchdogSec= in the unit it does nothing. It needs a
// [probedListener] on the socket.
func watchdog(ctx context.Context, socket string, log logrus.FieldLogger) (end func()) {
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.WithError(err).Warn("watchdog disabled")
	}
	if limit <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(limit / 2) // as sd_watchdog_enabled(3) recommends
		defer ticker.Stop()
		for {
			if err := ping(ctx, socket, limit/2); err == nil {
				notify(systemd.SdNotifyWatchdog)
			} else if ctx.Err() == nil {
				log.WithError(err).Error("socket does not accept connections, watchdog not notified")
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// ping returns nil if the [probedListener] on socket accepts a connection.
func ping(ctx context.Context, socket string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
	defer func() { _ = connection.Close() }()
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read from %s: %w", socket, errors.Join(err, ctx.Err()))
	}
	return nil
}

// probedListener immediately closes connections from this process. The closed connection
// shows [ping] that the listener accepts, without a call to the runtime.
type probedListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l probedListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil || !isSelf(connection) {
			return connection, err
		}
		_ = connection.Close()
	}
}

// isSelf reports whether the peer is this process.
func isSelf(connection net.Conn) bool {
	peer, _ := unixsocket.PeerOf(connection) // unknown on an error
	return peer.Process == os.Getpid()
}
