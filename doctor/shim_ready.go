package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/admin"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

const (
	unitsHint   = "start the shim: systemctl enable --now image-cri-shim.socket image-cri-shim"
	journalHint = "journalctl -u image-cri-shim shows why"
)

// CheckReady returns an error with the cause and a remedy if the shim does not answer CRI calls
// on its socket. adminSocket is its admin socket.
func CheckReady(ctx context.Context, shim, adminSocket string) error {
	c := probe(ctx, shim)
	if c.answers() {
		return nil
	}
	var running explain.ShimStatus
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	statusErr := admin.Get(ctx, adminSocket, admin.AboutPath, nil, &running)
	switch err := c.dialErr; {
	case err != nil && statusErr == nil && running.Shim != "" && !unixsocket.Same(running.Shim, shim):
		return fmt.Errorf("the shim still serves its former socket %s; a restart changes it to %s: image-cri-shim doctor shows how", running.Shim, shim)
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(shim)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the shim's socket %s does not exist, nor does its folder, which the shim creates when it starts: %s", shim, unitsHint)
		}
		return fmt.Errorf("the shim's socket %s does not exist: %s", shim, unitsHint)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user has no permission to connect to the shim's socket %s: run this as root", shim)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no process listens on the shim's socket %s: %s", shim, unitsHint)
	case err != nil:
		return fmt.Errorf("connect to the shim's socket: %w", err)
	}
	switch err := statusErr; {
	case err == nil && running.Waiting != "":
		return fmt.Errorf("the shim answers no calls, because it waits for its runtime on %s: start the runtime, or set `cri` to its socket", running.Waiting)
	case err == nil && status.Code(c.callErr) == codes.Unavailable:
		return fmt.Errorf("the shim answers, but its runtime does not: start the runtime, or set `cri` to its socket: %w", c.callErr)
	case err == nil && isHung(c.callErr):
		return fmt.Errorf("the shim answers, but its runtime hangs: restart the runtime, containers keep running: %w", c.callErr)
	case err == nil:
		return fmt.Errorf("calls through the shim's socket %s fail, and %s: %w", shim, journalHint, c.callErr)
	case errors.Is(err, admin.ErrNotRunning):
		return fmt.Errorf("the socket %s is open, but no running shim serves it, and %s: %s", shim, journalHint, unitsHint)
	default:
		return errors.Join(fmt.Errorf("calls through the shim's socket %s fail, and %s: %w", shim, journalHint, c.callErr), err)
	}
}
