package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"image-cri-shim/trace"
	"image-cri-shim/version"
)

// sendTrace sends the kept calls, if the request wants them, and streams later ones until the
// client cancels the request or the daemon ends.
func (d *daemon) sendTrace(response http.ResponseWriter, request *http.Request) {
	query, err := trace.ParseQuery(request.URL.Query())
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	header := trace.NewHeader(version.Short())
	reader, past, err := d.openTrace(request, query, header.Time)
	if err != nil {
		http.Error(response, err.Error(), http.StatusConflict)
		return
	}
	if reader != nil {
		defer reader.Close()
	}
	header.Since = past.Since
	response.Header().Set("Content-Type", "application/x-ndjson")
	err = trace.WriteHeader(response, header)
	for _, line := range past.Lines {
		if err == nil {
			_, err = response.Write(line)
		}
	}
	for flush := http.NewResponseController(response).Flush; err == nil && reader != nil; {
		if !reader.Ready() {
			_ = flush()
		}
		var line []byte
		if line, err = reader.Next(request.Context()); err == nil {
			_, err = response.Write(line)
		}
	}
}

// openTrace returns the reader and the kept calls of a trace that is requested at now. The
// reader is nil if the trace has no later calls.
func (d *daemon) openTrace(request *http.Request, query trace.Query, now time.Time) (reader *trace.Reader, past trace.Past, err error) {
	hub, ctx, start := d.observers.trace, request.Context(), now.Add(-query.Since)
	switch {
	case query.Since == 0:
		reader = hub.Subscribe(ctx, query.Filter, query.Bodies)
	case query.NoFollow:
		past, err = hub.Past(start, query.Filter)
	default:
		reader, past, err = hub.SubscribeSince(ctx, start, query.Filter, query.Bodies)
	}
	if errors.Is(err, trace.ErrNoHistory) {
		err = fmt.Errorf("%w: set traceBuffer, for example to 1MiB, in %s; the shim applies it without a restart", err, absolute(d.file))
	}
	return reader, past, err
}
