package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
)

// checkErrorLimit bounds the text of a failed check, in bytes. A configuration may have many
// mistakes, each with a line.
const checkErrorLimit = 64 << 10

// checkTimeout bounds each check.
const checkTimeout = 2 * time.Second

// check is the result of one health check. problem is nil on success.
type check struct {
	part    string
	problem error
}

var (
	errWaiting  = errors.New("not served yet: waiting for the runtime (force: true serves without it)")
	errStopping = errors.New("the shim is stopping")
)

// healthz is the liveness check. It fails if the daemon serves and its socket does not accept
// connections. It does not check the runtime, because a restart of the shim would not help.
func (d *daemon) healthz(response http.ResponseWriter, request *http.Request) {
	problem := d.checkSocket(request.Context())
	if errors.Is(problem, errWaiting) || errors.Is(problem, errStopping) {
		problem = nil
	}
	writeChecks(response, check{"socket", problem})
}

// readyz is the readiness check. It succeeds if calls are answered, with the
// configuration in the file.
func (d *daemon) readyz(response http.ResponseWriter, request *http.Request) {
	writeChecks(response,
		check{"socket", d.checkSocket(request.Context())},
		check{"runtime", d.checkRuntime(request.Context())},
		check{"configuration", d.checkConfiguration()},
	)
}

// checkSocket returns an error if the shim's socket does not accept connections.
func (d *daemon) checkSocket(ctx context.Context) error {
	switch {
	case d.stopping.Load():
		return errStopping
	case !d.serving.Load():
		return errWaiting
	}
	return ping(ctx, d.settings.Shim, checkTimeout)
}

// checkRuntime returns an error if the runtime does not answer. Concurrent callers share
// one probe.
func (d *daemon) checkRuntime(ctx context.Context) error {
	answer := d.probe.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		_, err := d.server.Invoke(ctx, "/runtime.v1.RuntimeService/Version", nil)
		switch code := status.Code(err); code {
		case codes.OK, codes.Unimplemented: // the runtime serves only v1alpha2
			return nil, nil
		default:
			return nil, fmt.Errorf("%s: %s", code, status.Convert(err).Message())
		}
	})
	// Invoke may block on a runtime that accepts no more calls.
	timeout, cancel := context.WithTimeout(ctx, checkTimeout+checkTimeout/10)
	defer cancel()
	select {
	case got := <-answer:
		return got.Err
	case <-timeout.Done():
		return errors.New("no response")
	}
}

// checkConfiguration returns an error if the last reload of the file failed.
func (d *daemon) checkConfiguration() error {
	if refusal := d.refusal(); refusal != "" {
		return fmt.Errorf("reload failed, the last good configuration stays in force: %s", refusal)
	}
	return nil
}

// writeChecks answers 200 if all checks succeeded, and 503 otherwise, in the format of the
// Kubernetes health endpoints.
func writeChecks(response http.ResponseWriter, checks ...check) {
	code := http.StatusOK
	var text strings.Builder
	for _, c := range checks {
		if c.problem == nil {
			fmt.Fprintf(&text, "[+]%s ok\n", c.part)
			continue
		}
		code = http.StatusServiceUnavailable
		fmt.Fprintf(&text, "[-]%s failed: %s\n", c.part, printable.Error(c.problem, checkErrorLimit))
	}
	response.Header().Set("Content-Type", "text/plain; charset=utf-8")
	response.Header().Set("X-Content-Type-Options", "nosniff")
	response.Header().Set("Cache-Control", "no-store")
	response.WriteHeader(code)
	_, _ = response.Write([]byte(text.String())) // the client may have disconnected
}
