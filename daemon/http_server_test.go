package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// TestSlowVisitors opens the maximum number of connections with clients that do not read
// their responses or do not send their request bodies. Another client must get a response.
func TestSlowVisitors(t *testing.T) {
	for name, request := range map[string]string{
		"unread responses": strings.Repeat("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n", 10),
		"missing body":     "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address := startHTTPServer(t)
			for range maxConnections {
				connection, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = connection.Close() }()
				if _, err := io.WriteString(connection, request); err != nil {
					t.Fatal(err)
				}
			}
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("http://" + address + "/")
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// startHTTPServer returns the address of an httpServer with a short timeout and responses
// that are larger than the socket's buffers.
func startHTTPServer(t *testing.T) (address string) {
	t.Helper()
	big := make([]byte, 8<<20)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(response http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(response, "ok") })
	mux.HandleFunc("/big", func(response http.ResponseWriter, _ *http.Request) { _, _ = response.Write(big) })
	log := logrus.New()
	log.SetOutput(t.Output())
	s := &httpServer{handler: mux, log: log, timeout: 100 * time.Millisecond}
	s.listen = func(ctx context.Context, _ string) (net.Listener, error) {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err == nil {
			address = listener.Addr().String()
		}
		return listener, err
	}
	s.move(t.Context(), "127.0.0.1:0")
	t.Cleanup(s.close)
	if address == "" {
		t.Fatal("the server does not listen")
	}
	return address
}

// TestProfilesFromElsewhere requires that profiles are only available from the node, even if
// the metrics are open to a network.
func TestProfilesFromElsewhere(t *testing.T) {
	pages := (&daemon{}).pages()
	for _, profile := range []string{"", "heap", "cmdline", "profile", "symbol", "trace"} {
		local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9465"))
		request := httptest.NewRequestWithContext(
			context.WithValue(t.Context(), http.LocalAddrContextKey, local), http.MethodGet, "http://192.0.2.1:9465/debug/pprof/"+profile, nil)
		request.RemoteAddr = "192.0.2.2:5"
		response := httptest.NewRecorder()
		pages.ServeHTTP(response, request)
		if response.Code != http.StatusForbidden || !strings.Contains(response.Body.String(), "ssh -L 9465:192.0.2.1:9465") {
			t.Errorf("%q: got %d, %q", profile, response.Code, response.Body)
		}
	}
}
