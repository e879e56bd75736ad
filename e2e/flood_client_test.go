package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// floodLimit is the shim's peak memory, in bytes, while clients or a runtime flood it. A
// message that it decodes has at most 128 MiB and is copied as it grows.
const floodLimit = 900 << 20

// floodSize is the number of bytes after which a flood ends.
const floodSize = 1 << 30

func onEachEngine(t *testing.T, test func(t *testing.T)) {
	for _, engine := range []string{"frames", "grpc"} {
		t.Run(engine, func(t *testing.T) {
			t.Setenv(engineVariable, engine)
			test(t)
		})
	}
}

const (
	pullImage = "/runtime.v1.ImageService/PullImage" // decoded by the shim
	version   = "/runtime.v1.RuntimeService/Version" // forwarded without decoding
	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// frameOf encodes an HTTP/2 frame (RFC 9113, 4.1).
func frameOf(kind, flags byte, stream uint32, payload string) string {
	header := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))[1:]
	return string(binary.BigEndian.AppendUint32(append(header, kind, flags), stream)) + payload
}

// TestClientsThatFlood runs misbehaving clients. Each gets an error or is blocked, other
// clients are served meanwhile, and the shim's memory stays below floodLimit.
func TestClientsThatFlood(t *testing.T) {
	const headers, settings, ping, continuation = 1, 4, 6, 9
	field := "\x00\x01a\x64" + strings.Repeat("b", 100) // an HPACK literal
	begun := preface + frameOf(headers, 0, 1, field)
	floods := map[string]func(t *testing.T, socket string) error{
		"an endless header list":                 floodingClient(begun, frameOf(continuation, 0, 1, strings.Repeat(field, 150)), floodSize, true),
		"endless CONTINUATION frames":            floodingClient(begun, strings.Repeat(frameOf(continuation, 0, 1, ""), 1000), floodSize/32, true),
		"pings with unread answers":              floodingClient(preface, strings.Repeat(frameOf(ping, 0, 0, "12345678"), 1000), floodSize/8, false),
		"settings with unread answers":           floodingClient(preface, strings.Repeat(frameOf(settings, 0, 0, ""), 1000), floodSize/8, false),
		"an endless message":                     postingClient(pullImage, "\x00\x7f\xff\xff\xff", zeroReader{}, ""),
		"an endless message, forwarded":          postingClient(version, "\x00\x7f\xff\xff\xff", zeroReader{}, ""),
		"many messages":                          postingClient(pullImage, "", &repeatedText{text: "\x00\x00\x00\x00\x00"}, ""),
		"a gzip bomb":                            postingClient(pullImage, gzipBomb(), strings.NewReader(""), "gzip"),
		"a gzip bomb, forwarded":                 postingClient(version, gzipBomb(), strings.NewReader(""), "gzip"),
		"connections without data":               connectingClient(1000, ""),
		"connections with half a preface":        connectingClient(1000, preface[:12]),
		"connections with an incomplete request": connectingClient(100, preface+frameOf(headers, 0, 1, field)),
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			onEachEngine(t, func(t *testing.T) {
				n := newPlainNode(t, shared.embedded, privateConfiguration(), floodLimit)
				ended := make(chan error, 1)
				go func() { ended <- flood(t, n.shim.Socket()) }()
				for meanwhile := true; meanwhile; {
					if _, err := n.through.Runtime.Version(testContext(t), ""); err != nil {
						t.Errorf("another client got %v", err)
					}
					select {
					case err := <-ended:
						meanwhile = false
						if err != nil {
							t.Error(err)
						}
					default:
					}
				}
				_ = dial(t, n.shim.Socket()) // calls Version
			})
		})
	}
}

// floodingClient writes up to most bytes. It ends earlier if the shim closes the connection
// or stops reading because its answers are not read. The test measures the shim's memory
// meanwhile.
func floodingClient(begin, piece string, most int, reading bool) func(*testing.T, string) error {
	return func(_ *testing.T, socket string) error {
		connection, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		defer func() { _ = connection.Close() }()
		if reading {
			go func() { _, _ = io.Copy(io.Discard, connection) }()
		}
		_, err = io.WriteString(connection, begin)
		for sent := 0; err == nil && sent < most; sent += len(piece) {
			_ = connection.SetWriteDeadline(time.Now().Add(2 * time.Second))
			_, err = io.WriteString(connection, piece)
		}
		return nil
	}
}

// postingClient makes a call with an endless body, which must fail.
func postingClient(method, begin string, rest io.Reader, encoding string) func(*testing.T, string) error {
	return func(t *testing.T, socket string) error {
		body := io.MultiReader(strings.NewReader(begin), io.LimitReader(rest, floodSize))
		code, err := post(testContext(t), socket, method, body, encoding)
		if err != nil {
			return err
		}
		if code == "" || code == "0" {
			return fmt.Errorf("the call ended with status %q", code)
		}
		return nil
	}
}

// post makes a call without a gRPC library and returns its status.
func post(ctx context.Context, socket, method string, body io.Reader, encoding string) (code string, err error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:          protocols,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+method, body)
	if err != nil {
		return "", err
	}
	request.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	if encoding != "" {
		request.Header.Set("Grpc-Encoding", encoding)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "", err
	}
	return response.Header.Get("Grpc-Status") + response.Trailer.Get("Grpc-Status"), nil
}

// gzipBomb returns a message of 2 MB that decompresses to 2 GiB.
var gzipBomb = sync.OnceValue(func() string {
	compressed := testbed.Compressed(2 << 30)
	return string(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(compressed)))) + string(compressed)
})

// zeroReader is an endless reader of zero bytes.
type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// repeatedText is an endless reader of a repeated text.
type repeatedText struct{ text string }

func (r *repeatedText) Read(b []byte) (int, error) {
	if len(b) < len(r.text) { // b ends inside the text
		return 0, io.EOF
	}
	return copy(b, bytes.Repeat([]byte(r.text), len(b)/len(r.text))), nil
}

// connectingClient opens connections, keeps them open, and writes a text on all of them, one
// byte per connection in turn.
func connectingClient(count int, text string) func(*testing.T, string) error {
	return func(t *testing.T, socket string) error {
		connections := make([]net.Conn, count)
		for i := range connections {
			connection, err := net.Dial("unix", socket)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = connection.Close() })
			connections[i] = connection
		}
		for i := range len(text) {
			for _, connection := range connections {
				if _, err := io.WriteString(connection, text[i:i+1]); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
