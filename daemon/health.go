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
)

// healthPatience is how long a part may take to show that it is well.
const healthPatience = 2 * time.Second

// check is whether one part is well; nil is.
type check struct {
	part    string
	problem error
}

var (
	errWaiting  = errors.New("it is not served yet: the shim waits for the runtime (force: true does not)")
	errStopping = errors.New("the shim is stopping")
)

// healthz is whether the process is worth keeping: it lives, and accepts connections
// where it serves. That the runtime is away is nothing that a restart would mend.
func (d *daemon) healthz(response http.ResponseWriter, request *http.Request) {
	problem := d.checkSocket(request.Context())
	if errors.Is(problem, errWaiting) || errors.Is(problem, errStopping) {
		problem = nil
	}
	writeChecks(response, check{"socket", problem})
}

// readyz is whether a client's call would be answered, as the file says it.
func (d *daemon) readyz(response http.ResponseWriter, request *http.Request) {
	writeChecks(response,
		check{"socket", d.checkSocket(request.Context())},
		check{"runtime", d.checkRuntime(request.Context())},
		check{"configuration", d.checkConfiguration()},
	)
}

// checkSocket tells whether somebody accepts connections on the shim's socket.
func (d *daemon) checkSocket(ctx context.Context) error {
	switch {
	case d.stopping.Load():
		return errStopping
	case !d.serving.Load():
		return errWaiting
	}
	return ping(ctx, d.settings.Shim, healthPatience)
}

// checkRuntime tells whether the runtime answers. All who ask meanwhile share one
// question.
func (d *daemon) checkRuntime(ctx context.Context) error {
	answer := d.asking.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthPatience)
		defer cancel()
		_, err := d.server.Invoke(ctx, "/runtime.v1.RuntimeService/Version", nil)
		switch code := status.Code(err); code {
		case codes.OK, codes.Unimplemented: // it has v1alpha2 only
			return nil, nil
		default:
			return nil, fmt.Errorf("%s: %s", code, status.Convert(err).Message())
		}
	})
	// The question may be held up by a runtime that takes no more of them.
	timeout, cancel := context.WithTimeout(ctx, healthPatience+healthPatience/10)
	defer cancel()
	select {
	case got := <-answer:
		return got.Err
	case <-timeout.Done():
		return errors.New("it does not answer")
	}
}

// checkConfiguration tells why the file, as it is now, is not what the shim runs with.
func (d *daemon) checkConfiguration() error {
	if refusal := d.refusal(); refusal != "" {
		return fmt.Errorf("the last good one stays: %s", refusal)
	}
	return nil
}

// writeChecks answers 200 if all is well, and 503 otherwise, in the form of
// Kubernetes' own health endpoints.
func writeChecks(response http.ResponseWriter, checks ...check) {
	code := http.StatusOK
	var text strings.Builder
	for _, c := range checks {
		if c.problem == nil {
			fmt.Fprintf(&text, "[+]%s ok\n", c.part)
			continue
		}
		code = http.StatusServiceUnavailable
		fmt.Fprintf(&text, "[-]%s failed: %s\n", c.part, oneLine(c.problem))
	}
	response.Header().Set("Content-Type", "text/plain; charset=utf-8")
	response.Header().Set("X-Content-Type-Options", "nosniff")
	response.Header().Set("Cache-Control", "no-store")
	response.WriteHeader(code)
	_, _ = response.Write([]byte(text.String())) // whoever asked may be gone
}
