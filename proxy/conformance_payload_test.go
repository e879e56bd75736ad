package proxy_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"

	"image-cri-shim/proxy/proxytest"
)

// noise returns bytes that are neither compressible nor a valid message.
func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

// All bytes pass unchanged in both directions.
func TestPayload(t *testing.T) {
	payloads := map[string][]byte{
		"empty":                {},
		"40 MiB":               noise(40 << 20),
		"text":                 []byte("nginx:1.25"),
		"truncated field":      {0x0a, 0xff},
		"endless varint":       bytes.Repeat([]byte{0xff}, 32),
		"field number 0":       {0x02, 0x00},
		"group without end":    {0x0b},
		"looks like a frame":   {0, 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o'},
		"zeros":                make([]byte, 1<<16),
		"a window and a byte":  noise(65536),
		"a frame less a byte":  noise(16383 - 5),
		"a frame and a header": noise(16384 + 5),
	}
	for name, payload := range payloads {
		t.Run(name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(echo)
				response, err := s.invoke(s.ctx, payload)
				if err != nil || !bytes.Equal(response, payload) {
					t.Errorf("unary: %d bytes came back changed as %d, error %v", len(payload), len(response), err)
				}
				c := s.open(s.ctx)
				c.send(payload)
				message, err := proxytest.Receive(c)
				if err != nil || !bytes.Equal(message, payload) {
					t.Fatalf("stream: %d bytes came back changed as %d, error %v", len(payload), len(message), err)
				}
				c.send([]byte("next"))
				c.expect("next")
				c.closeSend()
				c.expectEnd()
			})
		})
	}
}

// The runtime receives the client's compressed message, either decompressed or as sent, and the
// client receives the answer.
func TestCompressedRequest(t *testing.T) {
	payloads := map[string][]byte{
		"empty":        {},
		"compressible": bytes.Repeat([]byte("docker.io/library/nginx:1.25 "), 10_000),
		"noise":        noise(100_000),
	}
	for name, payload := range payloads {
		t.Run(name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				seen, compression := make(chan []byte, 2), make(chan string, 2)
				s.handle(func(stream grpc.ServerStream) error {
					message, err := proxytest.Receive(stream)
					if err != nil {
						return err
					}
					seen <- message
					transport := grpc.ServerTransportStreamFromContext(stream.Context()).(interface{ RecvCompress() string })
					compression <- transport.RecvCompress()
					return proxytest.Send(stream, message)
				})
				response, err := s.invoke(s.ctx, payload, grpc.UseCompressor(gzip.Name))
				if err != nil || !bytes.Equal(response, payload) {
					t.Fatalf("the response has %d bytes, error %v", len(response), err)
				}
				if !bytes.Equal(await(t, "the runtime is called", seen), payload) {
					t.Error("the runtime saw another message")
				}
				if used := await(t, "the runtime is called", compression); used != gzip.Name {
					t.Errorf("the request reached the runtime with compression %q", used)
				}

				c := s.open(s.ctx, grpc.UseCompressor(gzip.Name))
				c.send(payload)
				c.closeSend()
				c.expect(string(payload))
				c.expectEnd()
			})
		})
	}
}
