package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/trace"
)

// replay prints the events of a recording.
func (t *traceOutput) replay(file string, filter trace.Filter) error {
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	recording, err := trace.OpenRecording(content)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := t.begin(recording.Header); err != nil {
		return err
	}
	for {
		event, err := recording.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, trace.ErrTruncated):
			t.notef("%s: %v", file, err)
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", file, err)
		case !filter.Match(&event):
			continue
		}
		if err := t.add(event); err != nil {
			return enough(err)
		}
	}
}

// enough returns nil for errEnough, and other errors unchanged.
func enough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// follow prints the calls of the running shim until ctx is done or the last event of --count.
// If the shim ends, it waits for the next one.
func (t *traceOutput) follow(ctx context.Context, c *cli.Context, filter trace.Filter) error {
	settings, err := config.Load(file(c))
	if err != nil {
		return err
	}
	if limit := c.Duration("for"); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	query := filter.Values()
	if c.Bool("body") {
		query.Set("body", "true")
	}
	for {
		err := t.attach(ctx, admin.Socket(settings.StateDirectory), query)
		broken, isBroken := errors.AsType[sinkError](err)
		switch {
		case errors.Is(err, errEnough), ctx.Err() != nil:
			return nil
		case isBroken:
			return broken.error
		case !t.begun, errors.Is(err, admin.ErrUnknown), errors.Is(err, trace.ErrVersion):
			return err
		case errors.Is(err, errGone):
			t.notef("the shim has ended, waiting for the next one")
		}
		if !sleep(ctx, reconnectInterval) {
			return nil
		}
	}
}

// errGone is returned if the shim ends during the trace.
var errGone = errors.New("the shim has ended")

// sinkError is a failure to print or record an event.
type sinkError struct{ error }

// attach prints the calls of one shim until the shim ends.
func (t *traceOutput) attach(ctx context.Context, socket string, query url.Values) error {
	stream, err := admin.Open(ctx, socket, admin.TracePath, query)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	recording, err := trace.OpenRecording(stream)
	if err != nil {
		return err
	}
	if t.begun {
		t.notef("the shim is back")
	} else if err := t.begin(recording.Header); err != nil {
		return sinkError{err}
	}
	for {
		event, err := recording.Next()
		if err != nil {
			return errors.Join(errGone, err)
		}
		if err := t.add(event); errors.Is(err, errEnough) {
			return err
		} else if err != nil {
			return sinkError{err}
		}
	}
}

// sleep waits for d. It returns false if ctx is done first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
