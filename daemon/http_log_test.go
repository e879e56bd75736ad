package daemon

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

// Write implements [io.Writer].
func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(data)
}

// String returns the content.
func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

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

// TestUnexpectedDataIsNotLogged requires a warning, without the data, if a server sends data that
// no request is waiting for.
func TestUnexpectedDataIsNotLogged(t *testing.T) {
	output := new(lockedBuffer)
	defer redirectStandardLog(newLogger(output, false))()
	server := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		connection, buffered, err := http.NewResponseController(response).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = buffered.Flush()
		for range 100 { // until the client's connection is idle
			if _, err := connection.Write([]byte("{\"token\": \"canary\"}")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}))
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	for range 500 {
		if strings.Contains(output.String(), "\n") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if line := output.String(); !strings.Contains(line, `level=warning msg="Unsolicited response received on idle HTTP channel"`) || strings.Contains(line, "canary") {
		t.Errorf("log: %q", line)
	}
}
