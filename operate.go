package main

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"image-cri-shim/admin"
	"image-cri-shim/doctor"
	"image-cri-shim/explain"
	"image-cri-shim/proxy"
	"image-cri-shim/trace"
	"image-cri-shim/version"
)

// operator answers those who ask the running daemon about itself.
func (d *daemon) operator() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /resolve", func(response http.ResponseWriter, request *http.Request) {
		g := d.current.acquire()
		defer g.release()
		read := *d.read.Load()
		explainer := &explain.Explainer{Registries: g.registries, Rewriter: g.rewriter, Namer: d.namer, Invoke: d.server.Invoke}
		images, err := explainer.Explain(request.Context(), request.URL.Query()["image"])
		admin.Reply(response, resolution{File: absolute(d.file), Read: read, Restart: d.waitingKeys(), Images: images}, err)
	})
	mux.HandleFunc("GET "+doctor.AboutPath, func(response http.ResponseWriter, request *http.Request) {
		admin.Reply(response, doctor.Running{
			File: absolute(d.file), Read: *d.read.Load(), Version: version.Short(),
			Names: explain.NamingOf(d.probeNaming(request.Context()), d.namer.Repairs()), Ledger: d.ledger.Names(),
			Restart: d.waitingKeys(),
		}, nil)
	})
	mux.HandleFunc("GET "+tracePath, d.sendTrace)
	return mux
}

// waitingKeys are the keys of the file whose values take effect after a restart.
func (d *daemon) waitingKeys() []string {
	return d.settings.NeedRestart(d.current.Load().settings)
}

// tracePath is where calls are told of while they are made. Its query is that of a
// [trace.Filter], and body where messages are wanted.
const tracePath = "/trace"

// sendTrace tells of calls until whoever asks has enough, or the daemon ends.
func (d *daemon) sendTrace(response http.ResponseWriter, request *http.Request) {
	filter, err := trace.ParseFilter(request.URL.Query())
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	reader := d.observers.trace.Subscribe(request.Context(), filter, request.URL.Query().Has("body"))
	defer reader.Close()
	response.Header().Set("Content-Type", "application/x-ndjson")
	err = trace.WriteHeader(response, trace.NewHeader(version.Short()))
	for flush := http.NewResponseController(response).Flush; err == nil; {
		if !reader.Waiting() {
			_ = flush()
		}
		var line []byte
		if line, err = reader.Next(request.Context()); err == nil {
			_, err = response.Write(line)
		}
	}
}

// adminInterval is how often the admin socket is looked for.
const adminInterval = time.Second

// operate answers the operator on the admin socket until end is called. A socket that was
// removed, with the state directory for example, is made again. A failure is only a
// warning, because clients can be served all the same.
func (d *daemon) operate(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop, known := d.serveOperator(ctx)
	d.warnOfOperator(known)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer func() { stop() }()
		ticker := time.NewTicker(adminInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if _, err := os.Lstat(adminSocket(d.settings)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			stop()
			var err error
			if stop, err = d.serveOperator(ctx); err != nil && known != nil && err.Error() == known.Error() {
				continue // the log says so already
			}
			if known = err; err == nil {
				d.log.WithField("socket", adminSocket(d.settings)).Info("the admin socket was gone, made it again")
			}
			d.warnOfOperator(err)
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

func (d *daemon) warnOfOperator(err error) {
	if err != nil {
		d.log.WithError(err).Warn("the running shim can't be asked about itself")
	}
}

// serveOperator answers on a new admin socket until ctx is done or stop is called.
func (d *daemon) serveOperator(ctx context.Context) (stop func(), err error) {
	socket := adminSocket(d.settings)
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return func() {}, err
	}
	listener, err := proxy.ListenPrivate(ctx, socket)
	if err != nil {
		return func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { d.warnOfOperator(admin.Serve(ctx, listener, d.operator())) })
	return func() {
		cancel()
		serving.Wait()
	}, nil
}

// absolute is the path that names a file wherever the reader stands.
func absolute(file string) string {
	if path, err := filepath.Abs(file); err == nil {
		return path
	}
	return file
}
