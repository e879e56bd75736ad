package metrics

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"
)

const (
	maxConnections = 16
	retryInterval  = 15 * time.Second // between two attempts to listen
	requestTimeout = 15 * time.Second // of a whole request
)

// ParseAddress returns the form that Serve needs of IP:port. An IPv4 address may be in brackets,
// so that one argument fits the IP of any pod.
func ParseAddress(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		var number uint64
		if number, err = strconv.ParseUint(port, 10, 16); number == 0 && err == nil {
			err = errors.New("port 0")
		}
	}
	if err != nil {
		return "", fmt.Errorf("found %q, expected IP:PORT such as 10.0.0.5:9466 or [fd00::5]:9466", text)
	}
	return net.JoinHostPort(host, port), nil
}

// Serve serves a handler at an address until ctx ends. If it can't listen there, it logs the
// error once and tries again after each interval.
func Serve(ctx context.Context, address string, handler http.Handler, log logrus.FieldLogger) {
	serveAt(ctx, address, handler, log, retryInterval)
}

func serveAt(ctx context.Context, address string, handler http.Handler, log logrus.FieldLogger, retry time.Duration) {
	entry := log.WithField("metrics", address)
	for problem := ""; ctx.Err() == nil; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err == nil {
			entry.Info("metrics are served")
			problem, err = "", serve(ctx, listener, handler, entry)
		}
		if err != nil && ctx.Err() == nil {
			if err.Error() != problem {
				entry.WithError(err).Warnf("metrics listener failed, retrying every %s", retry)
			}
			problem = err.Error()
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
	}
}

// serve serves on a listener, and closes it.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *logrus.Entry) error {
	warnings := log.WriterLevel(logrus.WarnLevel)
	defer func() { _ = warnings.Close() }()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          stdlog.New(warnings, "", 0),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(netutil.LimitListener(listener, maxConnections))
	_ = server.Close()
	return err
}
