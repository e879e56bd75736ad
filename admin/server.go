// Package admin lets an operator ask the running daemon: HTTP with JSON over a
// unix socket that only root and the daemon's own user get answers on.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// Serve answers on a listener, which it closes, until ctx is done. Requests that
// run then are cut.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    1 << 20, // a request may name many images
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

// Reply answers a request with a value, or with an error, in its text.
func Reply(response http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadGateway)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(value) // the client may have gone
}
