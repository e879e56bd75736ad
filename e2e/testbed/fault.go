package testbed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Fault is the faulty behavior of a [FaultyRegistry]. It either answers a request itself
// or calls next, the working registry.
type Fault func(response http.ResponseWriter, request *http.Request, next http.Handler)

// FaultyRegistry is an image registry with a fault, in this process and on a loopback
// port. Close it after its clients.
type FaultyRegistry struct {
	server   *httptest.Server
	images   http.Handler
	requests atomic.Int64
	port     *os.File // reserves the port after RefuseConnections; nil before
}

// StartFaultyRegistry starts a registry without images. It serves TLS if certificate is
// not nil.
func StartFaultyRegistry(fault Fault, certificate *tls.Certificate) *FaultyRegistry {
	r := &FaultyRegistry{images: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/v2/" {
			r.requests.Add(1)
		}
		fault(response, request, r.images)
	}))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that reject the certificate
	if certificate == nil {
		r.server.Start()
		return r
	}
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	r.server.StartTLS()
	return r
}

// Address returns the registry's URL.
func (r *FaultyRegistry) Address() string { return r.server.URL }

// Requests returns the number of requests that have reached the registry. It leaves out
// requests for /v2/, which the shim sends at any time to probe an open circuit.
func (r *FaultyRegistry) Requests() int64 { return r.requests.Load() }

// RefuseConnections closes the registry's port and reserves it, so that no other server
// can listen there.
func (r *FaultyRegistry) RefuseConnections() error {
	port := r.server.Listener.Addr().(*net.TCPAddr).Port
	_ = r.server.Listener.Close() // it may be closed already
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("reserve the port of the faulty registry: %w", err)
	}
	r.port = os.NewFile(uintptr(descriptor), "port")
	// The socket is bound but not listening, so the kernel refuses connections.
	err = errors.Join(
		syscall.SetsockoptInt(descriptor, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(descriptor, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		return fmt.Errorf("reserve the port of the faulty registry: %w", err)
	}
	return nil
}

// Close ends the registry and aborts all requests in progress.
func (r *FaultyRegistry) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
	if r.port != nil {
		_ = r.port.Close()
	}
}

// Push stores an image, or an index of images, under a repository and tag. It bypasses
// the fault.
func (r *FaultyRegistry) Push(ctx context.Context, repository string, content remote.Taggable) error {
	tag, err := name.NewTag("registry.invalid/"+repository, name.Insecure)
	if err != nil {
		return fmt.Errorf("push to the faulty registry: %w", err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(handlerTransport{r.images})}
	switch content := content.(type) {
	case v1.Image:
		err = remote.Write(tag, content, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(tag, content, options...)
	default:
		err = errors.New("neither an image nor an index")
	}
	if err != nil {
		return fmt.Errorf("push to the faulty registry: %w", err)
	}
	return nil
}

// handlerTransport is an http.RoundTripper that calls a handler.
type handlerTransport struct{ handler http.Handler }

func (p handlerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body == nil {
		request.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, request)
	response := recorder.Result()
	response.Request = request
	return response, nil
}

// Healthy is the absence of a fault: it calls next.
func Healthy(response http.ResponseWriter, request *http.Request, next http.Handler) {
	next.ServeHTTP(response, request)
}

// Hang never answers.
func Hang(_ http.ResponseWriter, request *http.Request, _ http.Handler) {
	<-request.Context().Done()
}

// HangUntil never answers requests that arrive before back is closed.
func HangUntil(back <-chan struct{}) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		select {
		case <-back:
			next.ServeHTTP(response, request)
		default:
			Hang(response, request, next)
		}
	}
}

// Slow answers after a delay.
func Slow(delay time.Duration) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		select {
		case <-request.Context().Done():
		case <-time.After(delay):
			next.ServeHTTP(response, request)
		}
	}
}

// DripHeaders sends its headers one byte at a time and never finishes them.
func DripHeaders(response http.ResponseWriter, request *http.Request, _ http.Handler) {
	connection, err := hijack(response)
	if err != nil {
		return
	}
	defer func() { _ = connection.Close() }()
	_, err = io.WriteString(connection, "HTTP/1.1 200 OK\r\nX-Drip: ")
	for err == nil {
		time.Sleep(20 * time.Millisecond) // the pace of the drip
		_, err = io.WriteString(connection, "x")
	}
}

// OnBlobs applies a fault to blobs only: lookups succeed, and pulls fail.
func OnBlobs(fault Fault) Fault { return onPath("/blobs/", fault) }

// OnManifests applies a fault to manifests only.
func OnManifests(fault Fault) Fault { return onPath("/manifests/", fault) }

func onPath(part string, fault Fault) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if strings.Contains(request.URL.Path, part) {
			fault(response, request, next)
			return
		}
		next.ServeHTTP(response, request)
	}
}

// OnGET applies a fault to GET requests only.
func OnGET(fault Fault) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if request.Method == http.MethodGet {
			fault(response, request, next)
			return
		}
		next.ServeHTTP(response, request)
	}
}

// RefuseHEAD answers HEAD with 405.
func RefuseHEAD(response http.ResponseWriter, request *http.Request, next http.Handler) {
	if request.Method == http.MethodHead {
		response.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	next.ServeHTTP(response, request)
}

// DripBody sends the body one byte at a time, every 200 ms.
func DripBody(response http.ResponseWriter, request *http.Request, next http.Handler) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, request)
	copyHeader(response, recorder)
	response.WriteHeader(recorder.Code)
	for _, b := range recorder.Body.Bytes() {
		if _, err := response.Write([]byte{b}); err != nil {
			return
		}
		_ = http.NewResponseController(response).Flush()
		select {
		case <-request.Context().Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ResetBody resets the connection in the middle of the body.
func ResetBody(response http.ResponseWriter, request *http.Request, next http.Handler) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, request)
	copyHeader(response, recorder)
	response.Header().Set("Content-Length", fmt.Sprint(recorder.Body.Len()))
	response.WriteHeader(recorder.Code)
	_, _ = response.Write(recorder.Body.Bytes()[:recorder.Body.Len()/2])
	_ = http.NewResponseController(response).Flush()
	connection, err := hijack(response)
	if err != nil {
		return
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close with RST
	}
	_ = connection.Close()
}

// AlterBody flips one bit of the body, so that it does not match its digest.
func AlterBody(response http.ResponseWriter, request *http.Request, next http.Handler) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, request)
	copyHeader(response, recorder)
	response.WriteHeader(recorder.Code)
	altered := recorder.Body.Bytes()
	if len(altered) > 0 {
		altered[len(altered)/2] ^= 1
	}
	_, _ = response.Write(altered)
}

// Answer returns a Fault that gives the same response to every request.
func Answer(code int, header http.Header, body string) Fault {
	return func(response http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for key, values := range header {
			response.Header()[key] = values
		}
		response.WriteHeader(code)
		_, _ = io.WriteString(response, body)
	}
}

// RedirectLoop redirects every request to itself.
func RedirectLoop(response http.ResponseWriter, request *http.Request, _ http.Handler) {
	http.Redirect(response, request, request.URL.Path, http.StatusMovedPermanently)
}

func copyHeader(response http.ResponseWriter, recorder *httptest.ResponseRecorder) {
	for key, values := range recorder.Header() {
		response.Header()[key] = values
	}
}

func hijack(response http.ResponseWriter) (net.Conn, error) {
	connection, _, err := http.NewResponseController(response).Hijack()
	return connection, err
}
