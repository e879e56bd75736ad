package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/proxytest"
)

// These tests check the HTTP/2 frames that clients other than grpc-go see. grpc-go hides some
// of them, in particular at the end of a deadline.

// wire sends HTTP/2 requests to the socket without a gRPC library. Its connection ends with the
// test, even if calls are still running.
func (s *fixture) wire() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols:          protocols,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			connection, err := new(net.Dialer).DialContext(ctx, "unix", s.socket)
			if err == nil {
				context.AfterFunc(s.ctx, func() { _ = connection.Close() })
			}
			return connection, err
		},
	}
}

// post calls method with a body in gRPC's framing.
func (s *fixture) post(body io.Reader, header map[string]string) (*http.Response, error) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "http://localhost"+method, body)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	for key, value := range header {
		request.Header.Set(key, value)
	}
	return s.wire().RoundTrip(request)
}

// openBody is a request body that has begun and never ends.
func (s *fixture) openBody(begin string) (*io.PipeReader, *io.PipeWriter) {
	reader, writer := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(writer, begin)
	}()
	s.t.Cleanup(func() {
		_ = writer.Close()
		<-written
	})
	return reader, writer
}

// message is "hi" in gRPC's framing.
const message = "\x00\x00\x00\x00\x02hi"

// A failure without headers is one header block, so that a client that decides by the first
// block (to retry, for example) finds the status there.
func TestWireTrailersOnly(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(grpc.ServerStream) error { return status.Error(codes.NotFound, "no such image") })
		body, _ := s.openBody(message)
		response, err := s.post(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/grpc" {
			t.Errorf("HTTP status %s, content-type %q", response.Status, response.Header.Get("Content-Type"))
		}
		if code, text := response.Header.Get("Grpc-Status"), response.Header.Get("Grpc-Message"); code != "5" || text != "no such image" {
			t.Errorf("the first header block has grpc-status %q and grpc-message %q", code, text)
		}
	})
}

// A deadline that only the server knows ends the call with DeadlineExceeded or with a reset of
// the stream, as in grpc-go's server, and never with another status.
func TestWireDeadline(t *testing.T) {
	endings := map[string]func(grpc.ServerStream) error{
		"runtime says DeadlineExceeded": func(stream grpc.ServerStream) error {
			<-stream.Context().Done()
			return status.FromContextError(stream.Context().Err()).Err()
		},
		"runtime has begun to answer": func(stream grpc.ServerStream) error {
			for {
				if err := proxytest.Send(stream, []byte("hi")); err != nil {
					return err
				}
			}
		},
		"runtime is reading": func(stream grpc.ServerStream) error {
			for {
				if _, err := proxytest.Receive(stream); err != nil {
					return err
				}
			}
		},
	}
	for name, handler := range endings {
		t.Run(name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(handler)
				for range 5 {
					body, _ := s.openBody(message)
					response, err := s.post(body, map[string]string{"Grpc-Timeout": "30m"})
					if err != nil {
						continue // reset before any header
					}
					_, err = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					code := response.Header.Get("Grpc-Status") + response.Trailer.Get("Grpc-Status")
					if code != "4" && (code != "" || err == nil) {
						t.Errorf("the call ended with grpc-status %q, error %v", code, err)
					}
				}
			})
		})
	}
}

// An aborted request must not look complete to the runtime.
func TestWireBrokenRequest(t *testing.T) {
	tests := []struct {
		name, body string
		end        error // of the body; nil is HTTP/2's END_STREAM
	}{
		{"ends inside a message", message + message[:6], nil},
		{"ends inside a prefix", message + message[:3], nil},
		{"reset inside a message", message + message[:6], errors.New("the client gives up")},
		{"reset between messages", message, errors.New("the client gives up")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				received := make(chan string, 1)
				ended := make(chan error, 1)
				s.handle(func(stream grpc.ServerStream) error {
					first, err := proxytest.Receive(stream)
					received <- string(first)
					for err == nil {
						_, err = proxytest.Receive(stream)
					}
					ended <- err
					return err
				})
				body, writer := s.openBody(test.body)
				result := make(chan error, 1)
				go func() {
					response, err := s.post(body, nil)
					if err == nil {
						err = response.Body.Close()
					}
					result <- err
				}()
				if first := await(t, "the runtime has the first message", received); first != "hi" {
					t.Errorf("the runtime received %q", first)
				}
				_ = writer.CloseWithError(test.end)
				if err := await(t, "the runtime's call ends", ended); errors.Is(err, io.EOF) {
					t.Error("the runtime took the request for complete")
				}
				await(t, "the client's call ends", result)
			})
		})
	}
}
