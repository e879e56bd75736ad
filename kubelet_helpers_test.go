package main

import (
	"context"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"image-cri-shim/proxy/proxytest"
)

// kubelet implements `kubelet FILE METHOD`: it calls a method of the RuntimeService on the
// endpoint in its configuration FILE, and stays connected until SIGTERM or waitLimit.
func kubelet() {
	content, err := os.ReadFile(os.Args[1])
	endpoint := regexp.MustCompile(`(?m)^containerRuntimeEndpoint: "?unix://([^"\n]*)`).FindSubmatch(content)
	if err != nil || endpoint == nil {
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	connection, err := proxytest.Dial(string(endpoint[1]))
	if err != nil {
		os.Exit(1)
	}
	_, _ = proxytest.Invoke(ctx, connection, "/runtime.v1.RuntimeService/"+os.Args[2], nil)
	<-ctx.Done()
}
