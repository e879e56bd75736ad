// Package admin is the interface between the commands and the running daemon: HTTP with JSON
// over a unix socket. Only root and the user of the daemon may connect.
//
// For example, `image-cri-shim resolve nginx:1.25` sends GET /resolve?image=nginx:1.25.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// Serve serves requests on listener until ctx is done, then closes the listener and all
// connections.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    1 << 20, // a request may contain many image names
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(trustedListener{listener})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Reply answers a request with value as JSON, or with 502 and the text of err.
func Reply(response http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadGateway)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(value) // the client may have disconnected
}
