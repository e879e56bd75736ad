package main

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"

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
		admin.Reply(response, resolution{File: absolute(d.file), Read: read, Images: images}, err)
	})
	mux.HandleFunc("GET "+doctor.AboutPath, func(response http.ResponseWriter, request *http.Request) {
		admin.Reply(response, doctor.Running{
			File: absolute(d.file), Read: *d.read.Load(), Version: version.Short(),
			Names: explain.NamingOf(d.probeNaming(request.Context()), d.namer.Repairs()), Ledger: d.ledger.Names(),
			Restart: d.settings.NeedRestart(d.current.Load().settings),
		}, nil)
	})
	mux.HandleFunc("GET "+tracePath, d.sendTrace)
	return mux
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

// operate begins to answer the operator, until end is called. That this can't be
// done is worth a warning and no more: the daemon is there for others.
func (d *daemon) operate(ctx context.Context) (end func()) {
	listener, err := proxy.ListenPrivate(ctx, adminSocket(d.settings))
	if err != nil {
		d.log.WithError(err).Warn("the running shim can't be asked about itself")
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := admin.Serve(ctx, listener, d.operator()); err != nil {
			d.log.WithError(err).Warn("the running shim can't be asked about itself any more")
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}
}

// absolute is the path that names a file wherever the reader stands.
func absolute(file string) string {
	if path, err := filepath.Abs(file); err == nil {
		return path
	}
	return file
}
