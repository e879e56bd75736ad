package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// webClient implements `web SOCKET PATH`: it sends an HTTP request and prints the status code
// and body of the response.
func webClient() {
	code, body, err := get(os.Args[1], os.Args[2])
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	fmt.Printf("%d\n%s\n", code, strings.TrimSuffix(body, "\n"))
}

// get sends a GET request to a server on a unix socket.
func get(socket, path string) (code int, body string, err error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: waitLimit}).Get("http://localhost" + path)
	if err != nil {
		return 0, "", err
	}
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), errors.Join(err, response.Body.Close())
}
