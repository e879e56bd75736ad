package metrics

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// TestParseAddress requires the form of addresses, with or without brackets.
func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.5:9466":    "10.0.0.5:9466",
		"[10.0.0.5]:9466":  "10.0.0.5:9466",
		"[fd00::5]:9466":   "[fd00::5]:9466",
		"0.0.0.0:1":        "0.0.0.0:1",
		"":                 "",
		":9466":            "",
		"[]:9466":          "",
		"[$(POD_IP)]:9466": "",
		"fd00::5:9466":     "",
		"10.0.0.5":         "",
		"10.0.0.5:0":       "",
		"10.0.0.5:http":    "",
		"10.0.0.5:65536":   "",
		"node:9466":        "",
	} {
		got, err := ParseAddress(text)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("ParseAddress(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}

// TestServe requires that the server waits for a port that is in use, serves only GET and HEAD of
// /metrics, and ends with its context.
func TestServe(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	handler, text := agentHandler("")
	var buffer syncBuffer
	log := logrus.New()
	log.SetOutput(&buffer)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serveAt(ctx, address, handler, log, 20*time.Millisecond)
	}()
	for range 500 {
		if strings.Contains(buffer.String(), "address already in use") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // several attempts
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if strings.Contains(buffer.String(), "metrics are served") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if logged := buffer.String(); strings.Count(logged, "metrics listener failed, retrying every 20ms") != 1 || !strings.Contains(logged, "metrics="+`"`+address) {
		t.Errorf("logged %s, want the failure once", logged)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		method, path string
		status       int
		body         bool
	}{
		{http.MethodGet, "/metrics", http.StatusOK, true},
		{http.MethodHead, "/metrics", http.StatusOK, false},
		{http.MethodPost, "/metrics", http.StatusMethodNotAllowed, true},
		{http.MethodGet, "/", http.StatusNotFound, true},
		{http.MethodGet, "/debug/pprof/", http.StatusNotFound, true},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+c.path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatalf("%s %s: %v", c.method, c.path, err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != c.status || (len(body) > 0) != c.body {
			t.Errorf("%s %s: status %s with %d bytes, want %d", c.method, c.path, response.Status, len(body), c.status)
		}
	}
	cancel()
	<-ended
	if connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
		_ = connection.Close()
		t.Error("the server listens after its end")
	}
	if strings.Contains(text.String(), "level=error") {
		t.Errorf("logged %s", text)
	}
}

// TestServeLimitsConnections requires that connections without requests do not block others for
// long, and that there is a limit for them.
func TestServeLimitsConnections(t *testing.T) {
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	log := logrus.New()
	log.SetOutput(io.Discard)
	handler, _ := agentHandler("")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = serve(ctx, free, handler, logrus.NewEntry(log))
	}()
	defer func() { cancel(); <-ended }()
	for range maxConnections {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	start := time.Now()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if took := time.Since(start); took < time.Second {
		t.Errorf("the response took %s, want a wait for an idle connection to be closed", took)
	}
}
