package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"image-cri-shim/admin"
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

// follow prints the calls of the shim with this admin socket until ctx is done, limit has passed or the last
// event of --count. A limit of 0 is none. If the shim ends, it waits for the next one.
func (t *traceOutput) follow(ctx context.Context, socket string, query trace.Query, limit time.Duration) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for {
		err := t.attach(ctx, socket, query)
		broken, isBroken := errors.AsType[sinkError](err)
		switch {
		case errors.Is(err, errEnough), ctx.Err() != nil:
			return nil
		case isBroken:
			return broken.error
		case !t.begun, query.NoFollow, errors.Is(err, admin.ErrUnknown), errors.Is(err, trace.ErrVersion):
			return err
		case errors.Is(err, errGone):
			t.notef("the shim has ended, waiting for the next one")
		}
		query.Since = 0 // the earlier calls have been printed
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
func (t *traceOutput) attach(ctx context.Context, socket string, query trace.Query) error {
	stream, err := admin.Open(ctx, socket, admin.TracePath, query.Values())
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	recording, err := trace.OpenRecording(stream)
	if err != nil {
		return err
	}
	if err := t.checkSince(recording.Header, query.Since); err != nil {
		return err
	}
	if t.begun {
		t.notef("the shim is back")
	} else if err := t.begin(recording.Header); err != nil {
		return sinkError{err}
	}
	for {
		event, err := recording.Next()
		if query.NoFollow && errors.Is(err, io.EOF) {
			return errEnough
		}
		if err != nil {
			return errors.Join(errGone, err)
		}
		if !query.Match(&event) { // an older shim ignores the filters that it does not know
			continue
		}
		if err := t.add(event); errors.Is(err, errEnough) {
			return err
		} else if err != nil {
			return sinkError{err}
		}
	}
}

// checkSince notes if earlier calls are missing. It returns an error if the shim does not know
// --since.
func (t *traceOutput) checkSince(header trace.Header, since time.Duration) error {
	switch {
	case since == 0:
	case header.Since.IsZero():
		return admin.ErrUnknown
	case header.Since.After(header.Time.Add(-since)):
		t.notef("the shim has finished calls since %s only: traceBuffer was set then, or is full", header.Since.Local().Format("15:04:05"))
	}
	return nil
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
