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
	"syscall"

	"image-cri-shim/printable"
)

// ErrNotRunning is the error for a socket without a daemon.
var ErrNotRunning = errors.New("no shim answers")

// answerLimit bounds an answer, in bytes.
const answerLimit = 256 << 20

// ErrUnknown is the error for a path that the daemon does not have: it is of another version
// than the client.
var ErrUnknown = errors.New("the running shim is of another version, which has no answer to this: restart it")

// Get asks the daemon behind a socket, and decodes its answer. The error is
// [ErrNotRunning] without a daemon, and [ErrUntrustedPeer] if the daemon is another user's.
func Get(ctx context.Context, socket, path string, query url.Values, answer any) error {
	body, err := Open(ctx, socket, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(io.LimitReader(body, answerLimit)).Decode(answer); err != nil {
		return fmt.Errorf("the running shim's answer: %w", err)
	}
	return nil
}

// Open asks as [Get] does, and returns the answer as it comes, which must be closed. The
// error is [ErrUnknown] if the daemon does not have the path.
func Open(ctx context.Context, socket, path string, query url.Values) (io.ReadCloser, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, socket)
		},
	}}
	address := url.URL{Scheme: "http", Host: "shim", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w on %s", ErrNotRunning, socket)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running shim: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusNotFound {
		return nil, ErrUnknown
	}
	const limit = 4 << 10
	text, _ := io.ReadAll(io.LimitReader(response.Body, limit))
	return nil, fmt.Errorf("the running shim: %s", printable.Line(string(text), limit))
}

// dial connects to a daemon of root or of this user. In a folder that others may write to,
// the socket may be another user's.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(connection); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", socket, err), connection.Close())
	}
	return connection, nil
}
