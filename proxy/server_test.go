package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// forEachRunningEngine runs every engine, for tests of start and shutdown.
func forEachRunningEngine(t *testing.T, options proxy.Options, check func(*testing.T, *fixture, *runningEngine)) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		options.Runtime = runtime.Socket()
		engine := runEngine(t, under, options)
		engine.awaitRuntime(t)
		check(t, newFixture(t, runtime, engine.socket, engine.connections.Open), engine)
	})
}

// A running call ends without an error while no new client is accepted.
func TestShutdownLetsCallsEnd(t *testing.T) {
	forEachRunningEngine(t, proxy.Options{}, func(t *testing.T, s *fixture, f *runningEngine) {
		s.restarted = true // the idle connection to the runtime closes too
		started, finish := make(chan struct{}), make(chan struct{})
		s.handle(func(stream grpc.ServerStream) error {
			close(started)
			select {
			case <-finish:
			case <-stream.Context().Done():
			}
			return echo(stream)
		})
		s.client()
		result := make(chan error, 1)
		go func() {
			response, err := s.invoke(s.ctx, []byte("request"))
			if err == nil && string(response) != "request" {
				err = fmt.Errorf("got the answer %q", response)
			}
			result <- err
		}()
		await(t, "the runtime is called", started)

		shutdown := make(chan error, 1)
		go func() { shutdown <- f.Shutdown(s.ctx) }()
		awaitListenerClosed(t, f)
		expectGone(t, f.socket)
		select {
		case err := <-shutdown:
			t.Fatalf("Shutdown returned (%v) while a call was running", err)
		default:
		}
		close(finish)
		if err := await(t, "the running call ends", result); err != nil {
			t.Errorf("the running call: %v", err)
		}
		if err := await(t, "Shutdown returns", shutdown); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		eventually(t, "the runtime has no connection", func() bool { return s.runtime.Connections() == 0 })
	})
}

func awaitListenerClosed(t *testing.T, f *runningEngine) {
	t.Helper()
	eventually(t, "new connections are refused", func() bool {
		connection, err := net.Dial("unix", f.socket)
		if err == nil {
			_ = connection.Close()
		}
		return err != nil
	})
}

// A call that does not end is aborted on both sides.
func TestEndCutsCalls(t *testing.T) {
	tests := map[string]struct {
		end  func(*runningEngine) error
		want error
	}{
		"Shutdown": {func(f *runningEngine) error {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			return f.Shutdown(ctx)
		}, context.DeadlineExceeded},
		"Close": {func(f *runningEngine) error { return f.Close() }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			forEachRunningEngine(t, proxy.Options{}, func(t *testing.T, s *fixture, f *runningEngine) {
				s.restarted = true
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				s.client()
				result := make(chan error, 1)
				go func() {
					_, err := s.invoke(s.ctx, nil)
					result <- err
				}()
				await(t, "the runtime is called", started)
				if err := test.end(f); !errors.Is(err, test.want) {
					t.Errorf("ended with %v, want %v", err, test.want)
				}
				if err := await(t, "the client's call ends", result); status.Code(err) != codes.Unavailable {
					t.Errorf("the client got %v, want Unavailable", err)
				}
				await(t, "the runtime's call ends", ended)
				expectGone(t, f.socket)
				eventually(t, "the runtime has no connection", func() bool { return s.runtime.Connections() == 0 })
			})
		})
	}
}

func TestWaitForRuntime(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := proxytest.NewRuntime(temporarySocket(t))
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket()})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := engine.WaitForRuntime(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a runtime: %v, want %v", err, context.DeadlineExceeded)
		}
		if err := runtime.Start(); err != nil {
			t.Fatal(err)
		}
		engine.awaitRuntime(t)
		_ = engine.Close()
		if err := runtime.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// The grpc engine always sends the one content-type that every runtime accepts (CRI-O's socket
// accepts no other). The frame engine forwards the client's, as without a shim.
func TestContentTypeTowardsTheRuntime(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket()})
		engine.awaitRuntime(t)
		s := newFixture(t, runtime, engine.socket, engine.connections.Open)
		s.handle(func(stream grpc.ServerStream) error {
			seen := metadata.ValueFromIncomingContext(stream.Context(), "content-type")
			return proxytest.Send(stream, fmt.Append(nil, seen))
		})
		for _, subtype := range []proxytest.Codec{"", "proto", "x-unknown"} {
			want := "[application/grpc]"
			if under.name == string(proxy.EngineFrames) && subtype != "" {
				want = fmt.Sprintf("[application/grpc+%s]", subtype)
			}
			seen, err := s.invoke(s.ctx, nil, grpc.ForceCodecV2(subtype))
			if string(seen) != want || err != nil {
				t.Errorf("content-subtype %q: the runtime sees %s, error %v, want %s", subtype, seen, err, want)
			}
		}
	})
}

// Each call is reported once, with its method, outcome and duration.
func TestObserve(t *testing.T) {
	const other, streaming = "/conformance.v1.Other/Method", "/conformance.v1.Other/Stream"
	refusal := status.New(codes.NotFound, "no such image")
	observed := make(chan proxy.Call, 100)
	options := proxy.Options{
		Observer: finishedCalls(observed),
		Interceptors: intercept.Interceptors{
			Unary: map[string]intercept.Unary{other: func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
				return invoke(ctx, other, request)
			}},
			Stream: map[string]intercept.Stream{streaming: func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
				return request, nil, nil
			}},
		},
	}
	forEachRunningEngine(t, options, func(t *testing.T, s *fixture, _ *runningEngine) {
		if first := await(t, "the first call is reported", observed); first.Code != codes.Unimplemented {
			t.Errorf("the first call was reported as %+v", first)
		}
		s.handle(echo)
		for _, name := range []string{method, other, streaming} {
			s.runtime.Handle(name, echo)
			s.observeOne(t, observed, name, nil)
			s.runtime.Handle(name, func(grpc.ServerStream) error { return refusal.Err() })
			s.observeOne(t, observed, name, refusal)
		}
		for _, waiting := range waitingCalls {
			s.observeCancelled(t, observed, waiting.wait)
		}
		s.observeExpired(t, observed)
		if len(observed) > 0 {
			t.Errorf("a call was reported twice: %+v", <-observed)
		}
	})
}

func (s *fixture) observeOne(t *testing.T, observed <-chan proxy.Call, name string, want *status.Status) {
	t.Helper()
	start := time.Now()
	_, err := proxytest.Invoke(s.ctx, s.client(), name, nil)
	expectStatus(t, err, want)
	call := await(t, "the call is reported", observed)
	if took := time.Since(start); call.Method != name || call.Code != want.Code() || call.Duration <= 0 || call.Duration > took {
		t.Errorf("reported %+v after %v, want %s with %v", call, took, name, want.Code())
	}
	expectStatus(t, call.Err, want)
}

// observeCancelled makes calls that end because the client stops waiting.
//
// At a deadline, the client resets the stream at about the same time as the server's own clock
// ends the call. Depending on which is first, the server sees Canceled or DeadlineExceeded, and
// nothing else.
func (s *fixture) observeCancelled(t *testing.T, observed <-chan proxy.Call, wait func(context.Context, *fixture) error) {
	t.Helper()
	giveUp := func(ctx context.Context, cancel context.CancelFunc, early bool, reported ...codes.Code) {
		t.Helper()
		defer cancel()
		started, ended := make(chan struct{}, 1), make(chan ending, 1)
		s.handle(awaitEnding(started, ended))
		result := make(chan error, 1)
		go func() { result <- wait(ctx, s) }()
		await(t, "the runtime is called", started)
		if early {
			cancel()
		}
		if err := await(t, "the client's call ends", result); err == nil {
			t.Error("the call succeeded")
		}
		await(t, "the runtime's call ends", ended)
		if call := await(t, "the call is reported", observed); call.Method != method || !slices.Contains(reported, call.Code) {
			t.Errorf("reported %+v, want one of %v", call, reported)
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	giveUp(ctx, cancel, true, codes.Canceled)
	ctx, cancel = context.WithTimeout(s.ctx, 200*time.Millisecond)
	giveUp(ctx, cancel, false, codes.DeadlineExceeded, codes.Canceled)
}

// observeExpired makes calls of a client that sets a deadline and never resets
// its stream, so that only the server's clock ends them.
func (s *fixture) observeExpired(t *testing.T, observed <-chan proxy.Call) {
	t.Helper()
	s.handle(func(stream grpc.ServerStream) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	})
	for range 5 {
		body, _ := s.openBody(message)
		response, err := s.post(body, map[string]string{"Grpc-Timeout": "30m"}) // milliseconds
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		if call := await(t, "the call is reported", observed); call.Code != codes.DeadlineExceeded {
			t.Errorf("reported %+v, want DeadlineExceeded", call)
		}
	}
}

func expectGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s still exists (%v)", path, err)
	}
}
