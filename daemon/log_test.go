package daemon

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/naming"
)

// TestDecisionOfAName requires that the log line of a pull says where the name is kept.
func TestDecisionOfAName(t *testing.T) {
	for names, want := range map[naming.Mode]bool{naming.InRuntime: true, "": false} {
		var output bytes.Buffer
		logDecision(newLogger(&output, false), rewrite.Decision{Method: "PullImage", Names: names}, logrus.InfoLevel)
		if got := strings.Contains(output.String(), " names=runtime"); got != want {
			t.Errorf("%q: %s", names, output.String())
		}
	}
}

// TestDecisionLevels requires the log lines of decisions without debug.
func TestDecisionLevels(t *testing.T) {
	const canceled = "a pull that the client canceled"
	failure := status.Error(codes.Internal, "boom")
	for _, test := range []struct {
		name     string
		decision rewrite.Decision
		want     string // part of the line; empty for no line
	}{
		{"looked at", rewrite.Decision{Method: "ImageStatus", Served: "hub/nginx:1"}, ""},
		{"looked at in vain", rewrite.Decision{Method: "ListImages"}, ""},
		{"done", rewrite.Decision{Method: "RemoveImage", Served: "hub/nginx:1"}, "level=info"},
		{"perhaps there", rewrite.Decision{Method: "ImageStatus", Failed: failure}, "level=warning"},
		{"perhaps there, too", rewrite.Decision{Method: "StreamImages", Failed: failure, Err: failure}, "level=warning"},
		{"there, by another reference", rewrite.Decision{Method: "ImageStatus", Served: "hub/nginx:1", Failed: failure}, ""},
		{"removed, and perhaps still there", rewrite.Decision{Method: "RemoveImage", Served: "hub/nginx:1", Failed: failure}, "level=warning"},
		{"perhaps there for a container", rewrite.Decision{Method: "CreateContainer", Failed: failure, Err: failure}, "level=warning"},
		{"pulled", rewrite.Decision{Method: "PullImage", Served: "hub/nginx:1"}, "level=info"},
		{"a failed pull", rewrite.Decision{Method: "PullImage", Err: failure}, "level=error"},
		{"a failed pull of an image that may be present", rewrite.Decision{Method: "PullImage", Failed: failure, Err: failure}, "level=error"},
		{"a pull that timed out", rewrite.Decision{Method: "PullImage", Err: status.Error(codes.DeadlineExceeded, "boom")}, "level=error"},
		{"a pull that the runtime canceled", rewrite.Decision{Method: "PullImage", Err: status.Error(codes.Canceled, "boom")}, "level=error"},
		{canceled, rewrite.Decision{Method: "PullImage", Err: status.Error(codes.Canceled, "boom")}, "level=info"},
	} {
		var output bytes.Buffer
		log := newLogger(&output, false)
		test.decision.Asked, test.decision.Reason = "nginx:1", "because"
		logDecision(log, test.decision, decisionLevel(test.decision, test.name == canceled))
		line := output.String()
		if (line == "") != (test.want == "") || !strings.Contains(line, test.want) {
			t.Errorf("%s: %q, want %q", test.name, line, test.want)
		}
		if test.decision.Err != nil && !strings.Contains(line, "boom") {
			t.Errorf("%s: %q does not have the client's error", test.name, line)
		}
	}
}

// TestFieldsOfFailedPull requires that the line of a failed pull begins with the pod and the
// reason, before the long error of the runtime.
func TestFieldsOfFailedPull(t *testing.T) {
	var output bytes.Buffer
	logDecision(newLogger(&output, false), rewrite.Decision{
		Method: "PullImage", Asked: "nginx:1", Namespace: "prod", Pod: "web-0", Reason: "down", Err: errors.New("boom"),
	}, logrus.ErrorLevel)
	if line := output.String(); !strings.Contains(line, `level=error msg=PullImage asked="nginx:1" namespace=prod pod=web-0 reason=down error=boom duration=0s`) {
		t.Error(line)
	}
}

// TestAttemptsOnce requires that the line of a failed pull has the registries that were tried
// only once, and that its error ends with the runtime's cause.
func TestAttemptsOnce(t *testing.T) {
	const tried = "http://hub (absent)"
	for name, err := range map[string]error{
		"of the runtime": appendedError{status.Error(codes.Unknown, "lookup docker.io: no such host; image-cri-shim tried before: "+tried), "; image-cri-shim tried before: " + tried},
		"of the shim":    status.Error(codes.NotFound, "lookup docker.io: no such host, tried: "+tried),
	} {
		var output bytes.Buffer
		logDecision(newLogger(&output, false), rewrite.Decision{
			Method: "PullImage", Asked: "nginx:1", Reason: "the original registry failed; tried before: " + tried, Tried: tried, Err: err,
		}, logrus.ErrorLevel)
		line := output.String()
		if strings.Count(line, tried) != 1 || !strings.Contains(line, `tried="`+tried+`" reason="the original registry failed" error="rpc error`) || !strings.Contains(line, `no such host"`) {
			t.Errorf("%s: %s", name, line)
		}
	}
}

// appendedError is an error to which the shim has appended a text.
type appendedError struct {
	error
	text string
}

func (e appendedError) GRPCStatus() *status.Status { return status.Convert(e.error) }
func (e appendedError) Appended() string           { return e.text }
