package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// ErrNotRunning says that nobody answers on a socket.
var ErrNotRunning = errors.New("the shim is not running")

// answerLimit bounds an answer, in bytes.
const answerLimit = 256 << 20

// Get asks the daemon behind a socket, and decodes its answer. The error is
// [ErrNotRunning] where there is no daemon.
func Get(ctx context.Context, socket, path string, query url.Values, answer any) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	address := url.URL{Scheme: "http", Host: "shim", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("ask the running shim: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body := io.LimitReader(response.Body, answerLimit)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 4<<10))
		return fmt.Errorf("the running shim: %s", strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("the running shim's answer: %w", err)
	}
	return nil
}
