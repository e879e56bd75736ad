package daemon

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestErrorsOfHTTPServerAreWarnings requires that a failure inside of the HTTP server is one line at
// warning level, not plain text on standard error.
func TestErrorsOfHTTPServerAreWarnings(t *testing.T) {
	var output bytes.Buffer
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httpServer{handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }), log: newLogger(&output, false)}
	end := s.open(t.Context(), listener)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if response, err := (&http.Client{Transport: transport}).Get("http://" + listener.Addr().String()); err == nil {
		_ = response.Body.Close()
		t.Error("the request succeeded")
	}
	end()
	if line := output.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, `level=warning msg="http: panic serving `) {
		t.Errorf("log: %q", line)
	}
}
