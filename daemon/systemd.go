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

	"image-cri-shim/proxy"
)

// notify tells systemd how the daemon is (sd_notify(3)). Without systemd it does
// nothing, and what systemd doesn't hear changes nothing here.
func notify(lines ...string) { _, _ = systemd.SdNotify(false, strings.Join(lines, "\n")) }

// notify tells of a change once the daemon serves: until then it is starting.
func (d *daemon) notify(lines ...string) {
	if d.serving.Load() {
		notify(lines...)
	}
}

// servingLine is what `systemctl status` shows while all is well.
func (d *daemon) servingLine() string { return "STATUS=serving " + d.settings.Shim }

// oneLine is the text of an error in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// watchdog tells systemd that the socket is served, until end is called, where the
// unit has WatchdogSec=. What it takes for an answer is watched's.
func watchdog(ctx context.Context, socket string, log logrus.FieldLogger) (end func()) {
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.WithError(err).Warn("the watchdog is not told anything")
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
				log.WithError(err).Warn("the socket does not answer: the watchdog is not told that it does")
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

// ping returns nil when a [probedListener] listener has answered on a socket.
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

// watched is a listener that closes the connections which this process makes to
// itself. That they are closed shows that somebody accepts connections, without
// the runtime having to be there.
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

// own tells whether this process is on the other side, too.
func isSelf(connection net.Conn) bool { return proxy.ClientOf(connection).Process == os.Getpid() }
