package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/proxytest"
)

// ending describes how a runtime's handler saw its call end.
type ending struct {
	received error // by the last RecvMsg
	context  error
}

// awaitEnding is a handler that only waits until the client cancels.
func awaitEnding(started chan<- struct{}, ended chan<- ending) proxytest.Handler {
	return func(stream grpc.ServerStream) error {
		started <- struct{}{}
		var err error
		for err == nil {
			_, err = proxytest.Receive(stream)
		}
		<-stream.Context().Done()
		ended <- ending{err, stream.Context().Err()}
		return status.FromContextError(stream.Context().Err()).Err()
	}
}

// waitingCalls are the kinds of calls that a client can cancel.
var waitingCalls = []struct {
	name       string
	halfClosed bool
	wait       func(context.Context, *fixture) error
}{
	{"unary", true, func(ctx context.Context, s *fixture) error {
		_, err := s.invoke(ctx, []byte("request"))
		return err
	}},
	{"half-closed stream", true, func(ctx context.Context, s *fixture) error {
		return waitOnStream(ctx, s, func(stream grpc.ClientStream) error {
			return errors.Join(proxytest.Send(stream, []byte("request")), stream.CloseSend())
		})
	}},
	{"open stream", false, func(ctx context.Context, s *fixture) error {
		return waitOnStream(ctx, s, func(stream grpc.ClientStream) error {
			return proxytest.Send(stream, []byte("first of many"))
		})
	}},
	{"silent stream", false, func(ctx context.Context, s *fixture) error {
		return waitOnStream(ctx, s, func(grpc.ClientStream) error { return nil })
	}},
}

func waitOnStream(ctx context.Context, s *fixture, begin func(grpc.ClientStream) error) error {
	stream, err := proxytest.Open(ctx, s.client(), method)
	if err != nil {
		return err
	}
	if err := begin(stream); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = proxytest.Receive(stream)
	return err
}

// expectEnding checks that the runtime's context has ended, and that it did not mistake an
// aborted stream for a complete one.
func expectEnding(t *testing.T, end ending, halfClosed bool) {
	t.Helper()
	if end.context == nil {
		t.Error("the runtime's context goes on")
	}
	if !halfClosed && errors.Is(end.received, io.EOF) {
		t.Error("the runtime took the request for complete")
	}
}

func TestCancel(t *testing.T) {
	for _, waiting := range waitingCalls {
		t.Run(waiting.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				s.client()
				ctx, cancel := context.WithCancel(s.ctx)
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- waiting.wait(ctx, s) }()
				await(t, "the runtime is called", started)
				cancel()
				if err := await(t, "the client's call ends", result); status.Code(err) != codes.Canceled {
					t.Errorf("the client got %v, want Canceled", err)
				}
				expectEnding(t, await(t, "the cancel reaches the runtime", ended), waiting.halfClosed)
			})
		})
	}
}

// A client that disconnects cancels all of its calls.
func TestClientDisappears(t *testing.T) {
	for _, waiting := range waitingCalls {
		t.Run(waiting.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				client := s.client()
				result := make(chan error, 1)
				go func() { result <- waiting.wait(s.ctx, s) }()
				await(t, "the runtime is called", started)
				if err := client.Close(); err != nil {
					t.Fatal(err)
				}
				if err := await(t, "the client's call ends", result); err == nil {
					t.Error("the call succeeded")
				}
				expectEnding(t, await(t, "the runtime's call ends", ended), waiting.halfClosed)
			})
		})
	}
}

func TestDeadlineExpires(t *testing.T) {
	for _, waiting := range waitingCalls {
		t.Run(waiting.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				// Connect before the timeout starts.
				s.client().Connect()
				eventually(t, "the client is connected", func() bool { return s.clients() > 0 })
				ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
				defer cancel()
				if err := waiting.wait(ctx, s); status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("the client got %v, want DeadlineExceeded", err)
				}
				expectEnding(t, await(t, "the runtime's call ends", ended), waiting.halfClosed)
			})
		})
	}
}

// However early a deadline expires, and at every stage of the call, the client gets
// DeadlineExceeded.
func TestShortDeadlines(t *testing.T) {
	const callers, calls = 8, 50
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			<-stream.Context().Done()
			return status.FromContextError(stream.Context().Err()).Err()
		})
		s.client()
		var running sync.WaitGroup
		for range callers {
			running.Go(func() {
				for range calls {
					ctx, cancel := context.WithTimeout(s.ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
					_, err := s.invoke(ctx, []byte("request"))
					cancel()
					if status.Code(err) != codes.DeadlineExceeded {
						t.Errorf("the client got %v, want DeadlineExceeded", err)
					}
				}
			})
		}
		running.Wait()
	})
}

// The runtime sees the remaining time of the client, or none without a deadline.
func TestDeadlinePassedOn(t *testing.T) {
	type seen struct {
		Set       bool
		Remaining time.Duration
	}
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			deadline, set := stream.Context().Deadline()
			answer, err := json.Marshal(seen{set, time.Until(deadline)})
			if err != nil {
				return err
			}
			return proxytest.Send(stream, answer)
		})
		ask := func(ctx context.Context) (answer seen) {
			t.Helper()
			response, err := s.invoke(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(response, &answer); err != nil {
				t.Fatal(err)
			}
			return answer
		}
		if answer := ask(s.ctx); answer.Set {
			t.Errorf("the runtime sees a deadline in %v, the client has set none", answer.Remaining)
		}
		for _, timeout := range []time.Duration{15 * time.Second, time.Hour, 3 * 24 * time.Hour} {
			ctx, cancel := context.WithTimeout(s.ctx, timeout)
			answer := ask(ctx)
			cancel()
			if !answer.Set || answer.Remaining > timeout || answer.Remaining < timeout-10*time.Second {
				t.Errorf("with a timeout of %v the runtime sees %v (set: %t)", timeout, answer.Remaining, answer.Set)
			}
		}
	})
}
