package registry_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	container "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"image-cri-shim/registry"
)

const (
	username = "robot"
	password = "canary-s3cret:with?signs" // must never be seen in any output
)

// testTimeout bounds every wait of the tests.
const testTimeout = 20 * time.Second

// storage is the content of a registry.
type storage struct{ http.Handler }

func newStorage() storage {
	return storage{container.New(container.Logger(log.New(io.Discard, "", 0)))}
}

// push puts a new image into the storage and returns its digest.
func (s storage) push(t *testing.T, image string) v1.Hash {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	destination, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/" + image)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if err := remote.Write(destination, pushed, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	digest, err := pushed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// server is an HTTP server that records its requests.
type server struct {
	*httptest.Server

	mu             sync.Mutex
	requests       []string // method and path
	authorizations []string // Authorization headers of requests
	firstBytes     []byte   // first byte of each connection
}

// serve runs a handler on a loopback address.
func serve(t *testing.T, handler http.Handler, options ...func(*httptest.Server)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		if authorization := r.Header.Get("Authorization"); authorization != "" {
			s.authorizations = append(s.authorizations, authorization)
		}
		s.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, option := range options {
		option(s.Server)
	}
	s.Listener = sniffing{s.Listener, s}
	if s.TLS != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// onAddress changes the listen address of a server.
func onAddress(t *testing.T, address string) func(*httptest.Server) {
	return func(s *httptest.Server) {
		_ = s.Listener.Close()
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s.Listener = listener
	}
}

func withTLS(config *tls.Config) func(*httptest.Server) {
	return func(s *httptest.Server) { s.TLS = config }
}

// count returns the number of requests for manifests with a method ("" for any).
func (s *server) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, request := range s.requests {
		if strings.HasPrefix(request, method) && strings.Contains(request, "/manifests/") {
			count++
		}
	}
	return count
}

func (s *server) seenAuthorizations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.authorizations)
}

func (s *server) seenFirstBytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.firstBytes)
}

func (s *server) host() string { return s.Listener.Addr().String() }

// sniffing records the first byte of each connection, which is 0x16 for TLS.
type sniffing struct {
	net.Listener
	server *server
}

func (l sniffing) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sniffed{Conn: connection, server: l.server}, nil
}

type sniffed struct {
	net.Conn
	server *server
	once   sync.Once
}

func (c *sniffed) Read(buffer []byte) (int, error) {
	n, err := c.Conn.Read(buffer)
	if n > 0 {
		c.once.Do(func() {
			c.server.mu.Lock()
			defer c.server.mu.Unlock()
			c.server.firstBytes = append(c.server.firstBytes, buffer[0])
		})
	}
	return n, err
}

// blackHole accepts connections and never answers.
func blackHole(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = connection.Close() }()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// refusing returns an address without a listener.
func refusing(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	return listener.Addr().String()
}

// basicAuth requires the password for requests.
func basicAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, secret, _ := r.BasicAuth(); user != username || secret != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// on handles the requests that a condition selects, and passes the others to next.
func on(condition func(*http.Request) bool, handler http.HandlerFunc, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if condition(r) {
			handler(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

func isHead(r *http.Request) bool { return r.Method == http.MethodHead }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// newSet returns a set that is closed at the end of the test.
func newSet(t *testing.T, options registry.Options) *registry.Set {
	t.Helper()
	set, err := registry.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// newSetOf returns a set of one registry with credentials.
func newSetOf(t *testing.T, address string) *registry.Set {
	t.Helper()
	return newSet(t, registry.Options{Registries: []registry.Config{
		{Address: address, Username: username, Password: password},
	}})
}

func parse(t *testing.T, image string) reference.Named {
	t.Helper()
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		t.Fatal(err)
	}
	return named
}

// find returns all answers for an image.
func find(t *testing.T, set *registry.Set, image string) []registry.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	return slices.Collect(set.Find(ctx, parse(t, image)))
}

// findOne returns the only answer of a set with one registry.
func findOne(t *testing.T, set *registry.Set, image string) registry.Answer {
	t.Helper()
	answers := find(t, set, image)
	if len(answers) != 1 {
		t.Fatalf("%d answers, want 1: %v", len(answers), answers)
	}
	return answers[0]
}

// receive returns a value from a channel. It fails the test after testTimeout.
func receive[T any](t *testing.T, channel <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(testTimeout):
		t.Fatalf("no %s within %v", what, testTimeout)
		panic("unreachable")
	}
}
