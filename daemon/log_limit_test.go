package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/page"
	"image-cri-shim/proxy"
	"image-cri-shim/rewrite"
	"image-cri-shim/trace"
)

// TestFloodOfFailedPulls requires that the errors in the journal stay readable while a client
// makes thousands of pulls that fail, that no line is missing, and that a later failure is an
// error again.
func TestFloodOfFailedPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var output bytes.Buffer
		o := &observers{log: newLogger(&output, false), trace: trace.NewHub(trace.Options{})}
		const pulls = 3000
		fail := func(image string) {
			o.decided(t.Context(), rewrite.Decision{Method: "PullImage", Asked: image, Err: status.Error(codes.InvalidArgument, "boom")})
		}
		for i := range pulls {
			fail(fmt.Sprint("Not//A name ", i))
		}
		text := output.String()
		if lines, failed := strings.Count(text, "msg=PullImage"), strings.Count(text, "level=error msg=PullImage"); lines != pulls || failed != maxFailedPulls {
			t.Errorf("%d lines, of which %d are errors", lines, failed)
		}
		if notes := strings.Count(text, `level=error msg="many pulls fail`); notes != 1 {
			t.Errorf("%d lines say that errors are missing", notes)
		}
		time.Sleep(failedPullsInterval)
		output.Reset()
		if fail("nginx:1"); !strings.Contains(output.String(), "level=error msg=PullImage") {
			t.Error(output.String())
		}
	})
}

// TestLongFields requires that no text of the runtime makes a line longer than the journal
// accepts (LineMax= in journald.conf(5)), which would split it and lose the priority.
func TestLongFields(t *testing.T) {
	var output bytes.Buffer
	log := newLogger(&output, true)
	long := strings.Repeat("画像 ", 100_000) + "end"
	log.WithField("text", long).WithError(errors.New(long)).Info("long")
	logDecision(log, rewrite.Decision{Method: "PullImage", Asked: "nginx:1", Err: status.Error(codes.Unknown, long)}, decisionLevel(rewrite.Decision{}, false))
	for line := range strings.Lines(output.String()) {
		if len(line) > 16<<10 {
			t.Errorf("a line has %d bytes", len(line))
		}
		if !strings.Contains(line, "画像") || !strings.Contains(line, "end") {
			t.Errorf("the line does not have the beginning and the end of the text: %s", line)
		}
	}
	output.Reset()
	log.WithError(errors.New("a\nb")).Info("short")
	if line := output.String(); !strings.Contains(line, `error="a\nb"`) {
		t.Errorf("a short text has changed: %s", line)
	}
}

// TestLoginsInNames pulls an image whose name has a login, as in a pod that was written in haste.
// Neither the log nor the debug page shows the password.
func TestLoginsInNames(t *testing.T) {
	var output bytes.Buffer
	o := &observers{log: newLogger(&output, true), trace: trace.NewHub(trace.Options{})}
	shown := page.New(page.Sources{
		Host:          func() string { return "" },
		Service:       func(context.Context) page.Service { return page.Service{} },
		Registries:    func() []page.Registry { return nil },
		Configuration: func() string { return "" },
	})
	o.page.Store(shown)
	const name = "https://robot:canary@hub.example.com/app:1"
	err := status.Error(codes.NotFound, `failed to pull image "`+name+`": not found`)
	o.decided(t.Context(), rewrite.Decision{Method: "PullImage", Asked: name, Served: name, Reason: "tried before: " + name, Tried: name, Err: err})
	logCall(o.log, &proxy.Call{Method: "/runtime.v1.ImageService/PullImage", Code: codes.NotFound, Err: err})
	request := httptest.NewRequest(http.MethodGet, "http://localhost/snapshot", nil)
	request = request.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.UnixAddr{}))
	response := httptest.NewRecorder()
	shown.ServeHTTP(response, request)
	o.decided(t.Context(), rewrite.Decision{Method: "PullImage", Asked: "long:1", Err: status.Error(codes.Unknown, "begin "+strings.Repeat("x", 1<<20))})
	longResponse := httptest.NewRecorder()
	if shown.ServeHTTP(longResponse, request); !strings.Contains(longResponse.Body.String(), "Unknown: begin xx") {
		t.Errorf("a long error: %s", longResponse.Body)
	}
	for place, text := range map[string]string{"log": output.String(), "page": response.Body.String()} {
		if strings.Contains(text, "canary") || !strings.Contains(text, "hub.example.com/app:1") {
			t.Errorf("%s: %s", place, text)
		}
	}
}
