package daemon

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
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
	"image-cri-shim/version"
)

// adminHandler returns the handler for the commands that query the running daemon: resolve,
// doctor and trace.
func (d *daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+admin.ResolvePath, func(response http.ResponseWriter, request *http.Request) {
		if !d.connected.Load() {
			admin.Reply(response, nil, errors.New("waiting for a runtime: start it, or set the key cri to its socket"))
			return
		}
		resolution, err := d.resolve(request.Context(), request.URL.Query()["image"])
		admin.Reply(response, resolution, err)
	})
	mux.HandleFunc("GET "+admin.AboutPath, func(response http.ResponseWriter, request *http.Request) {
		if !d.connected.Load() {
			admin.Reply(response, explain.ShimStatus{File: absolute(d.file), Read: *d.read.Load(), Version: version.Short(), Shim: d.settings.Shim, Waiting: anyRuntime, Refused: d.refusal()}, nil)
			return
		}
		status := explain.ShimStatus{
			File: absolute(d.file), Read: *d.read.Load(), Version: version.Short(), Shim: d.settings.Shim, Runtime: d.runtime,
			Names: explain.NamingOf(d.probeNaming(request.Context()), d.namer.Repairs()), Ledger: d.ledger.Len(),
			Restart: d.waitingKeys(), Refused: d.refusal(), Metrics: d.httpServer.failure(), Unread: d.ledger.Unread(),
		}
		if !d.serving.Load() {
			status.Waiting = d.runtime
		}
		status.Clients, status.MoreClients = d.observers.clients.list()
		admin.Reply(response, status, nil)
	})
	mux.HandleFunc("GET "+admin.TracePath, d.sendTrace)
	return mux
}

// resolve explains names, or all images of the node if there are no names.
func (d *daemon) resolve(ctx context.Context, names []string) (explain.Resolution, error) {
	g := d.current.acquire()
	defer g.release()
	read := *d.read.Load()
	explainer := &explain.Explainer{Registries: g.registries, Rewriter: g.rewriter, Namer: d.namer, Invoke: d.server.Invoke}
	images, err := explainer.Explain(ctx, names)
	return explain.Resolution{File: absolute(d.file), Read: read, Restart: d.waitingKeys(), Images: images}, err
}

// waitingKeys returns the changed keys that take effect after a restart.
func (d *daemon) waitingKeys() []string {
	return d.settings.NeedRestart(d.current.Load().settings)
}

// adminInterval is the interval at which the admin socket is checked.
const adminInterval = time.Second

// serveAdmin serves the admin socket until end is called. If the socket was removed, for
// example with the state directory, it creates the socket again. A failure is only logged,
// because CRI clients do not need the admin socket.
func (d *daemon) serveAdmin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop, known := d.listenAdmin(ctx)
	d.warnOfAdmin(known)
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
			if _, err := os.Lstat(admin.Socket(d.settings.StateDirectory)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			stop()
			var err error
			if stop, err = d.listenAdmin(ctx); err != nil && known != nil && err.Error() == known.Error() {
				continue // logged already
			}
			if known = err; err == nil {
				d.log.WithField("socket", admin.Socket(d.settings.StateDirectory)).Info("admin socket was missing, created it again")
			}
			d.warnOfAdmin(err)
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

func (d *daemon) warnOfAdmin(err error) {
	if err != nil {
		d.log.WithError(err).Error("admin socket failed: resolve, doctor and trace can't query this shim")
	}
}

// listenAdmin creates the admin socket and serves it until ctx is done or stop is called.
func (d *daemon) listenAdmin(ctx context.Context) (stop func(), err error) {
	socket := admin.Socket(d.settings.StateDirectory)
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return func() {}, err
	}
	listener, err := unixsocket.ListenPrivate(ctx, socket)
	if err != nil {
		return func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { d.warnOfAdmin(admin.Serve(ctx, listener, d.adminHandler())) })
	return func() {
		cancel()
		serving.Wait()
	}, nil
}
