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

// ErrNotRunning is returned if no daemon listens on the socket.
var ErrNotRunning = errors.New("no shim listens")

// answerLimit is the maximum size of an answer in bytes.
const answerLimit = 256 << 20

// ErrUnknown is returned if the daemon does not know the path, because its version differs
// from the client's.
var ErrUnknown = errors.New("the running shim is another version that does not know this request: restart it")

// Get sends a request to the daemon on socket and decodes the response into answer. It
// returns [ErrNotRunning] without a daemon, and [ErrUntrustedPeer] if the daemon runs as
// neither root nor the current user.
func Get(ctx context.Context, socket, path string, query url.Values, answer any) error {
	body, err := Open(ctx, socket, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(io.LimitReader(body, answerLimit)).Decode(answer); err != nil {
		return fmt.Errorf("decode the response of the running shim: %w", err)
	}
	return nil
}

// Open sends a request as [Get] does and returns the body of the response, which the caller
// must close. It returns [ErrUnknown] if the daemon does not know the path.
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
		return nil, fmt.Errorf("request to the running shim: %w", err)
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

// dial connects to socket. It returns an error if the peer runs as neither root nor the
// current user: in a folder that others may write to, the socket may be another user's.
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
