package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
)

func (r *Registry) file(name string) string { return filepath.Join(r.options.Folder, name) }

// writeConfiguration writes the configuration of docker-registry. It listens on a unix
// socket; only the front proxy has a port.
func (r *Registry) writeConfiguration() error {
	hash, err := bcrypt.GenerateFromPassword([]byte(r.options.Password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	configuration := fmt.Sprintf(`version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: %q}}
http: {net: unix, addr: %q, relativeurls: true}
auth: {htpasswd: {realm: testbed, path: %q}}
`, r.file("data"), r.file("socket"), r.file("htpasswd"))
	return errors.Join(
		os.WriteFile(r.file("htpasswd"), fmt.Appendf(nil, "%s:%s\n", r.options.Username, hash), 0o600),
		os.WriteFile(r.file("config.yml"), []byte(configuration), 0o600),
	)
}

func (r *Registry) startBackend(ctx context.Context) error {
	_ = os.Remove(r.file("socket"))
	backend, err := startProcess(r.file("log"), 0, "docker-registry", "serve", r.file("config.yml"))
	if err != nil {
		return fmt.Errorf("start docker-registry: %w", err)
	}
	r.backend = backend
	if err := backend.waitUntil(ctx, func() error { return checkListening(r.file("socket")) }); err != nil {
		backend.kill()
		return fmt.Errorf("start docker-registry: %w", err)
	}
	return nil
}

func (r *Registry) toBackend() http.Handler {
	dialer := &net.Dialer{}
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(&url.URL{Scheme: "http", Host: r.host})
			request.Out.Host = request.In.Host
		},
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", r.file("socket"))
			},
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
}
