package testbed

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// RegistryOptions configures a registry.
type RegistryOptions struct {
	Folder             string // for its files; created if missing
	Address            string // IP address and port to listen on; empty: a free loopback port
	Username, Password string // required in every request
}

// Registry is an image registry with basic authentication. It is
// Debian's docker-registry if that is installed, and otherwise a registry inside this
// process. A front proxy in this process records the requests.
//
// Its methods are safe for concurrent use, except Start and Stop.
type Registry struct {
	options RegistryOptions
	host    string       // IP address and port, the same after each Start
	memory  http.Handler // the registry in this process; nil if docker-registry runs
	backend *process     // docker-registry; nil if memory serves
	front   *http.Server

	mutex    sync.Mutex
	requests []Request
}

// Request is one request that reached a registry.
type Request struct {
	Method, Path       string
	Username, Password string // empty if the request had no credentials
}

// StartRegistry starts an empty registry and returns once it answers.
func StartRegistry(ctx context.Context, options RegistryOptions) (*Registry, error) {
	if err := os.MkdirAll(options.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("start a registry: %w", err)
	}
	r := &Registry{options: options, host: cmp.Or(options.Address, "127.0.0.1:0")}
	if _, err := exec.LookPath("docker-registry"); err != nil {
		r.memory = r.authenticate(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	} else if err := r.writeConfiguration(); err != nil {
		return nil, fmt.Errorf("start a registry: %w", err)
	}
	return r, r.Start(ctx)
}

// Host returns the registry's host and port, as in an image name.
func (r *Registry) Host() string { return r.host }

// Address returns the registry's URL.
func (r *Registry) Address() string { return "http://" + r.host }

// Start restarts a stopped registry at the same address and with the same
// images.
func (r *Registry) Start(ctx context.Context) error {
	handler := r.memory
	if handler == nil {
		if err := r.startBackend(ctx); err != nil {
			return err
		}
		handler = r.toBackend()
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.host)
	if err != nil {
		r.Stop()
		return fmt.Errorf("start a registry: %w", err)
	}
	r.host = listener.Addr().String()
	r.front = &http.Server{Handler: r.record(handler), ReadHeaderTimeout: time.Minute}
	go func(front *http.Server) { _ = front.Serve(listener) }(r.front) // until Stop
	return nil
}

// Stop ends the registry. Its address then refuses connections.
func (r *Registry) Stop() {
	if r.front != nil {
		_ = r.front.Close()
	}
	if r.backend != nil {
		r.backend.stop()
	}
}

// Push stores an image or an index of images under a repository and tag, for example
// "library/nginx:1.25".
func (r *Registry) Push(ctx context.Context, repository string, image remote.Taggable) error {
	tag, err := name.NewTag(r.host+"/"+repository, name.Insecure)
	if err != nil {
		return fmt.Errorf("push to the registry: %w", err)
	}
	credentials := &authn.Basic{Username: r.options.Username, Password: r.options.Password}
	if err := remote.Push(tag, image, remote.WithContext(ctx), remote.WithAuth(credentials)); err != nil {
		return fmt.Errorf("push to the registry: %w", err)
	}
	return nil
}

// Requests returns the requests that have reached the registry since it was created or
// since [Registry.ResetRequests].
func (r *Registry) Requests() []Request {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([]Request(nil), r.requests...)
}

// ResetRequests drops the recorded requests.
func (r *Registry) ResetRequests() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.requests = nil
}

func (r *Registry) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		username, password, _ := request.BasicAuth()
		r.mutex.Lock()
		r.requests = append(r.requests, Request{request.Method, request.URL.Path, username, password})
		r.mutex.Unlock()
		next.ServeHTTP(response, request)
	})
}

func (r *Registry) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		username, password, _ := request.BasicAuth()
		if username != r.options.Username || password != r.options.Password {
			response.Header().Set("WWW-Authenticate", `Basic realm="testbed"`)
			http.Error(response, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(response, request)
	})
}
