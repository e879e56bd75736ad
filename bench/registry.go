package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// registry answers lookups of the images that the store has from it. Nothing is ever
// pulled from it.
type registry struct {
	host   string
	server *http.Server
}

func startRegistry(ctx context.Context) (*registry, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for i := range served {
		digests["/v2/"+repository(i)+"/manifests/"+tag] = imageDigest(i)
	}
	r := &registry{host: listener.Addr().String(), server: &http.Server{Handler: lookUps(digests), ReadHeaderTimeout: time.Minute}}
	go func() { _ = r.server.Serve(listener) }() // until stop
	return r, nil
}

func (r *registry) stop() { _ = r.server.Close() }

// lookUps returns a handler that answers a HEAD request for a manifest by its path.
func lookUps(digests map[string]string) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if strings.TrimSuffix(request.URL.Path, "/") == "/v2" {
			return
		}
		digest, ok := digests[request.URL.Path]
		if !ok || request.Method != http.MethodHead {
			response.WriteHeader(http.StatusNotFound)
			return
		}
		response.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		response.Header().Set("Content-Length", "1024")
		response.Header().Set("Docker-Content-Digest", digest)
	})
}
