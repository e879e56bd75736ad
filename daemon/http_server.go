package daemon

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/http/pprof"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"

	"image-cri-shim/admin"
	"image-cri-shim/page"
	"image-cri-shim/unixsocket"
)

// maxConnections bounds the connections of the HTTP server, so that file descriptors remain
// for CRI clients.
const maxConnections = 64

// clientTimeout bounds the time for reading a response and for sending a request body.
// Profiles extend it by their recording time (net/http/pprof). The debug page replaces it
// for its stream of updates.
const clientTimeout = 30 * time.Second

// httpServer serves metrics, health, the debug page and profiles. A reload may move it from
// one address to another. Its methods except failure are not safe for concurrent use.
type httpServer struct {
	handler http.Handler
	listen  func(ctx context.Context, address string) (net.Listener, error)
	log     logrus.FieldLogger

	timeout time.Duration // see clientTimeout

	address string                 // address of the listener; empty if there is none
	problem atomic.Pointer[string] // last logged reason why it does not listen; nil if there is none
	end     func()                 // stops serving
	ended   atomic.Bool            // whether serving has failed
}

// move makes the server listen on address instead of its current one. An empty address
// closes the server. If listening fails, it logs a warning, and the next call retries.
func (s *httpServer) move(ctx context.Context, address string) {
	if address == s.address && !s.ended.Load() {
		return
	}
	s.close()
	if address == "" {
		s.problem.Store(nil)
		return
	}
	listener, err := s.listen(ctx, address)
	if err != nil {
		if err.Error() != s.failure() {
			s.log.WithField("metrics", address).WithError(err).Warn("metrics listener failed, retrying every reloadInterval")
		}
		text := err.Error()
		s.problem.Store(&text)
		return
	}
	s.problem.Store(nil)
	s.address, s.end = address, s.open(context.WithoutCancel(ctx), listener)
	s.log.WithField("metrics", address).Info("metrics are served")
}

// failure returns why the server does not listen on its address, or "".
func (s *httpServer) failure() string {
	if problem := s.problem.Load(); problem != nil {
		return *problem
	}
	return ""
}

// open serves on listener until end is called. end closes the listener.
func (s *httpServer) open(ctx context.Context, listener net.Listener) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	server := &http.Server{
		Handler:           s.limitBodyRead(s.handler),
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      s.timeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          stdlog.New(warningWriter{s.log}, "", 0),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(netutil.LimitListener(listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.ended.Store(true)
			s.log.WithError(err).Warn("metrics server failed, retrying every reloadInterval")
		}
	})
	return func() {
		cancel() // ends profiles and streams
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		_ = server.Close()
		serving.Wait()
	}
}

// limitBodyRead bounds the time for reading a request's body, which the server reads to the
// end. [http.Server.ReadTimeout] would also end streams and profiles.
func (s *httpServer) limitBodyRead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if request.ContentLength != 0 {
			_ = http.NewResponseController(response).SetReadDeadline(time.Now().Add(s.timeout)) // fails only if the connection has failed
		}
		next.ServeHTTP(response, request)
	})
}

func (s *httpServer) close() {
	if s.address != "" {
		s.end()
	}
	s.address = ""
	s.ended.Store(false)
}

// listenHTTP listens on the metrics address of the configuration.
func (d *daemon) listenHTTP(ctx context.Context, address string) (net.Listener, error) {
	if !filepath.IsAbs(address) {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	}
	for _, taken := range []string{d.settings.Shim, d.runtime, admin.Socket(d.settings.StateDirectory)} {
		if unixsocket.Same(address, taken) {
			return nil, fmt.Errorf("%s is a socket of the shim or the runtime: choose another path", address)
		}
	}
	return unixsocket.ListenPrivate(ctx, address)
}

// pages returns the handler of all paths of the HTTP server.
func (d *daemon) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", d.debugPage)
	mux.HandleFunc("GET /metrics", d.metrics)
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.Handle("GET /debug/pprof/", d.profiles(pprof.Index))
	mux.Handle("GET /debug/pprof/cmdline", d.profiles(pprof.Cmdline))
	mux.Handle("GET /debug/pprof/profile", d.profiles(pprof.Profile))
	mux.Handle("GET /debug/pprof/symbol", d.profiles(pprof.Symbol))
	mux.Handle("GET /debug/pprof/trace", d.profiles(pprof.Trace))
	return mux
}

// profiles serves one of Go's profiles to local clients if pprof is set.
func (d *daemon) profiles(answer http.HandlerFunc) http.Handler {
	return page.LocalOnly(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if !d.current.Load().settings.PProf {
			http.Error(response, "profiles are only served with `pprof: true`", http.StatusNotFound)
			return
		}
		answer(response, request)
	}))
}
