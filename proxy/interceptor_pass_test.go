package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// passing returns interceptors of method that add a mark to each answer, in a Restore unless
// the request says "slow". unaryCalls counts the calls of the unary interceptor. If the answer
// says "ask", the mark comes from the runtime.
func passing() (interceptors intercept.Interceptors, unaryCalls *atomic.Int64) {
	unaryCalls = new(atomic.Int64)
	mark := func(ctx context.Context, response []byte, invoke intercept.Invoke) []byte {
		if bytes.HasPrefix(response, []byte("ask")) {
			if mark, err := invoke(ctx, other, []byte("?")); err == nil {
				return slices.Concat(response, mark)
			}
		}
		return slices.Concat(response, []byte("!"))
	}
	interceptors = unary(func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
		unaryCalls.Add(1)
		response, err := invoke(ctx, method, request)
		if err != nil {
			return nil, err
		}
		return mark(ctx, response, invoke), nil
	})
	interceptors.Pass = map[string]intercept.Pass{method: func(request []byte) (intercept.Restore, bool) {
		return mark, !bytes.HasPrefix(request, []byte("slow"))
	}}
	return interceptors, unaryCalls
}

// other is another method that the interceptors call.
const other = "/conformance.v1.Other/Method"

// forEachEnginePassing runs every engine. Engines without the shortcut must give the same
// answers.
func forEachEnginePassing(t *testing.T, check func(t *testing.T, s *fixture, unaryCalls *atomic.Int64)) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		interceptors, unaryCalls := passing()
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket(), Interceptors: interceptors})
		engine.awaitRuntime(t)
		if under.name == string(proxy.EngineGRPC) {
			unaryCalls = nil
		}
		check(t, newFixture(t, runtime, engine.socket, engine.connections.Open), unaryCalls)
	})
}

func TestPass(t *testing.T) {
	forEachEnginePassing(t, func(t *testing.T, s *fixture, unaryCalls *atomic.Int64) {
		s.handle(echo)
		s.runtime.Handle(other, echo)
		for _, test := range []struct {
			request string
			options []grpc.CallOption
			long    int64
		}{
			{"quick", nil, 0},
			{"", nil, 0},
			{"slow", nil, 1},
			{"ask", nil, 0},
			{"compressed", []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, 1},
			{strings.Repeat("x", 10_000), nil, 0},
			{strings.Repeat("x", 1<<20), nil, 1}, // its request arrives in pieces
		} {
			before := int64(0)
			if unaryCalls != nil {
				before = unaryCalls.Load()
			}
			want := test.request + "!"
			if test.request == "ask" {
				want = "ask?"
			}
			response, err := s.invoke(s.ctx, []byte(test.request), test.options...)
			if err != nil || string(response) != want {
				t.Errorf("%.20q: got %.20q, %v", test.request, response, err)
			}
			if unaryCalls != nil && unaryCalls.Load()-before != test.long {
				t.Errorf("%.20q reached the unary interceptor %d times, want %d", test.request, unaryCalls.Load()-before, test.long)
			}
		}
	})
}

// The answer to a short request may be larger than the client's windows.
func TestPassedAnswersOfAnySize(t *testing.T) {
	forEachEnginePassing(t, func(t *testing.T, s *fixture, _ *atomic.Int64) {
		answer := noise(1 << 20)
		s.client()
		s.handle(func(stream grpc.ServerStream) error {
			if _, err := proxytest.Receive(stream); err != nil {
				return err
			}
			return proxytest.Send(stream, answer)
		})
		answers := make(chan error, 4)
		for range cap(answers) {
			go func() {
				response, err := s.invoke(s.ctx, []byte("short"))
				if err == nil && !bytes.Equal(response, append(bytes.Clone(answer), '!')) {
					err = fmt.Errorf("%d bytes that are not the answer", len(response))
				}
				answers <- err
			}()
		}
		for range cap(answers) {
			if err := await(t, "the call ends", answers); err != nil {
				t.Error(err)
			}
		}
	})
}

// Errors, metadata and deadlines pass as without the shortcut.
func TestPassedCallsPassAllOn(t *testing.T) {
	forEachEnginePassing(t, func(t *testing.T, s *fixture, _ *atomic.Int64) {
		for _, early := range []bool{true, false} {
			for _, want := range []*status.Status{nil, detailed(t, codes.NotFound, "größer\n100%")} {
				received := make(chan metadata.MD, 1)
				s.handle(func(stream grpc.ServerStream) error {
					request, _ := metadata.FromIncomingContext(stream.Context())
					received <- request
					stream.SetTrailer(sample("trailer"))
					if early {
						if err := stream.SendHeader(sample("header")); err != nil {
							return err
						}
					}
					if want != nil {
						return want.Err()
					}
					return echo(stream)
				})
				ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(s.ctx, sample("request")), time.Hour)
				var header, trailer metadata.MD
				_, err := s.invoke(ctx, nil, grpc.Header(&header), grpc.Trailer(&trailer))
				cancel()
				expectStatus(t, err, want)
				if early {
					expectHeader(t, header, sample("header"))
				}
				expectMetadata(t, "trailer", trailer, sample("trailer"), "grpc-status-details-bin", "content-type")
				expectMetadata(t, "request", await(t, "the runtime is called", received), sample("request"),
					":authority", "content-type", "user-agent", "grpc-accept-encoding")
			}
		}
	})
}

// A call ends if the client cancels it or the runtime dies.
func TestPassedCallsEnd(t *testing.T) {
	for name, want := range map[string]codes.Code{"cancel": codes.Canceled, "deadline": codes.DeadlineExceeded, "death": codes.Unavailable} {
		t.Run(name, func(t *testing.T) {
			forEachEnginePassing(t, func(t *testing.T, s *fixture, _ *atomic.Int64) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				s.client()
				ctx, cancel := context.WithCancel(s.ctx)
				if name == "deadline" {
					ctx, cancel = context.WithTimeout(s.ctx, 300*time.Millisecond)
				}
				defer cancel()
				result := make(chan error, 1)
				go func() {
					_, err := s.invoke(ctx, nil)
					result <- err
				}()
				await(t, "the runtime is called", started)
				switch name {
				case "cancel":
					cancel()
				case "death":
					s.stopRuntime()
				}
				if err := await(t, "the client's call ends", result); status.Code(err) != want {
					t.Errorf("the client got %v, want %v", err, want)
				}
				await(t, "the runtime's call ends", ended)
				if name == "death" {
					s.startRuntime()
				}
			})
		})
	}
}

// A client that reads nothing does not block the answers of other clients.
func TestPassingForADeafClient(t *testing.T) {
	forEachEnginePassing(t, func(t *testing.T, s *fixture, _ *atomic.Int64) {
		s.handle(func(stream grpc.ServerStream) error {
			if _, err := proxytest.Receive(stream); err != nil {
				return err
			}
			return proxytest.Send(stream, make([]byte, 30_000))
		})
		deaf, err := net.Dial("unix", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer deaf.Close()
		asked := make(chan error, 1)
		go func() { asked <- askOften(deaf, 400) }()
		for range 200 {
			ctx, cancel := context.WithTimeout(s.ctx, testTimeout/2)
			if _, err := s.invoke(ctx, nil); err != nil {
				t.Errorf("beside a client that does not read: %v", err)
			}
			cancel()
		}
		_ = deaf.Close()
		await(t, "the requests of the client that reads nothing end", asked) // with an error, or after sending
	})
}

// askOften sends requests for method on a connection with windows of the maximum size, and
// reads nothing.
func askOften(connection net.Conn, times int) error {
	var requests bytes.Buffer
	requests.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&requests, nil)
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}); err != nil {
		return err
	}
	if err := framer.WriteWindowUpdate(0, 1<<30); err != nil {
		return err
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range times {
		block.Reset()
		for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "localhost"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
			if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
				return err
			}
		}
		id := uint32(2*i + 1)
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
		if err := framer.WriteData(id, true, []byte(message)); err != nil {
			return err
		}
	}
	_, err := connection.Write(requests.Bytes())
	return err
}
