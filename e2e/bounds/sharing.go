package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"image-cri-shim/e2e/testbed"
)

// measureSharing pulls like a node that starts all its pods at once.
func measureSharing(ctx context.Context, n *node, row report) error {
	const pulls, names = 110, 30
	var mutex sync.Mutex
	lookups, connections := 0, map[string]bool{}
	registry := n.registry(func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if strings.HasPrefix(request.UserAgent(), "image-cri-shim") {
			mutex.Lock()
			connections[request.RemoteAddr] = true
			if strings.Contains(request.URL.Path, "/manifests/") {
				lookups++
			}
			mutex.Unlock()
		}
		next.ServeHTTP(response, request)
	})
	if err := n.fill(ctx, registry, names); err != nil {
		return err
	}
	if err := n.start(ctx, []*testbed.FaultyRegistry{registry}, ""); err != nil {
		return err
	}
	var running errgroup.Group
	for i := range pulls {
		running.Go(func() error { return pull(ctx, n.through, name(i%names)) })
	}
	if err := running.Wait(); err != nil {
		return err
	}
	mutex.Lock()
	defer mutex.Unlock()
	row(fmt.Sprintf("lookups of %d pulls of %d names", pulls, names), fmt.Sprint(lookups), fmt.Sprint(names))
	row("connections for these pulls, including replaced ones", fmt.Sprint(len(connections)), "4 at once")
	return nil
}
