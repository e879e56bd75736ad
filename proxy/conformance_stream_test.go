package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/proxytest"
)

// receiveEnd is for handlers: it fails unless the client has half-closed.
func receiveEnd(stream grpc.ServerStream) error {
	if message, err := proxytest.Receive(stream); !errors.Is(err, io.EOF) {
		return fmt.Errorf("received %d bytes and error %v, want the client's half-close", len(message), err)
	}
	return nil
}

// echo returns each message until the client half-closes.
func echo(stream grpc.ServerStream) error {
	for {
		message, err := proxytest.Receive(stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := proxytest.Send(stream, message); err != nil {
			return err
		}
	}
}

func TestUnary(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			request, err := proxytest.Receive(stream)
			if err != nil {
				return err
			}
			if err := receiveEnd(stream); err != nil {
				return err
			}
			return proxytest.Send(stream, append([]byte("answer to "), request...))
		})
		response, err := s.invoke(s.ctx, []byte("question"))
		if string(response) != "answer to question" || err != nil {
			t.Errorf("got %q, %v", response, err)
		}
	})
}

func TestClientStream(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			var all []byte
			for range 3 {
				message, err := proxytest.Receive(stream)
				if err != nil {
					return err
				}
				all = append(all, message...)
			}
			if err := receiveEnd(stream); err != nil {
				return err
			}
			return proxytest.Send(stream, all)
		})
		c := s.open(s.ctx)
		c.send([]byte("a"))
		c.send([]byte("b"))
		c.send([]byte("c"))
		c.closeSend()
		c.expect("abc")
		c.expectEnd()
	})
}

// Each message must arrive before the next is sent.
func TestServerStream(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		arrived := make(chan struct{})
		s.handle(func(stream grpc.ServerStream) error {
			for number := range 3 {
				if err := proxytest.Send(stream, fmt.Append(nil, number)); err != nil {
					return err
				}
				select {
				case <-arrived:
				case <-stream.Context().Done():
					return stream.Context().Err()
				}
			}
			return nil
		})
		c := s.open(s.ctx)
		c.send([]byte("request"))
		c.closeSend()
		for number := range 3 {
			c.expect(fmt.Sprint(number))
			arrived <- struct{}{}
		}
		c.expectEnd()
	})
}

// Each message is answered before the next is sent.
func TestBidirectionalStream(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(echo)
		c := s.open(s.ctx)
		for number := range 100 {
			c.send(fmt.Append(nil, number))
			c.expect(fmt.Sprint(number))
		}
		c.closeSend()
		c.expectEnd()
	})
}

// The runtime continues to send after the client has closed its side.
func TestHalfClose(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		closed := make(chan struct{})
		s.handle(func(stream grpc.ServerStream) error {
			if err := proxytest.Send(stream, []byte("before")); err != nil {
				return err
			}
			if err := receiveEnd(stream); err != nil {
				return err
			}
			close(closed)
			for number := range 3 {
				if err := proxytest.Send(stream, fmt.Append(nil, number)); err != nil {
					return err
				}
			}
			return nil
		})
		c := s.open(s.ctx)
		c.expect("before")
		c.closeSend()
		await(t, "the runtime sees the half-close", closed)
		for number := range 3 {
			c.expect(fmt.Sprint(number))
		}
		c.expectEnd()
	})
}

// The runtime ends the call while the client is still sending, without having read any of its
// messages.
func TestAnswerBeforeTheRequestsEnd(t *testing.T) {
	tests := []struct {
		name string
		err  error
	}{
		{"success", nil},
		{"failure", status.Error(codes.ResourceExhausted, "enough")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(func(stream grpc.ServerStream) error {
					if err := proxytest.Send(stream, []byte("early")); err != nil {
						return err
					}
					return test.err
				})
				c := s.open(s.ctx)
				message := make([]byte, 1<<20)
				var err error
				for err == nil {
					err = proxytest.Send(c, message)
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("sending ended with %v, want io.EOF", err)
				}
				c.expect("early")
				_, err = proxytest.Receive(c)
				if errors.Is(err, io.EOF) {
					err = nil
				}
				if status.Code(err) != status.Code(test.err) || status.Convert(err).Message() != status.Convert(test.err).Message() {
					t.Errorf("the call ended with %v, want %v", err, test.err)
				}
			})
		})
	}
}

// Both sides send 10,000 messages at once.
func TestManyMessages(t *testing.T) {
	const count = 10_000
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			return exchange(stream, count, func() error { return nil })
		})
		c := s.open(s.ctx)
		if err := exchange(c, count, c.CloseSend); err != nil {
			t.Fatal(err)
		}
	})
}

// exchange sends count numbered messages while it receives as many, until the end of the
// stream. closeSend is called after the last one is sent.
func exchange(stream proxytest.Messages, count int, closeSend func() error) error {
	sent := make(chan error, 1)
	go func() {
		for number := range count {
			if err := proxytest.Send(stream, fmt.Append(nil, number)); err != nil {
				sent <- fmt.Errorf("send message %d: %w", number, err)
				return
			}
		}
		sent <- closeSend()
	}()
	received := receiveNumbers(stream, count)
	return errors.Join(received, <-sent)
}

func receiveNumbers(stream proxytest.Messages, count int) error {
	for number := range count {
		message, err := proxytest.Receive(stream)
		if err != nil {
			return fmt.Errorf("receive message %d: %w", number, err)
		}
		if string(message) != fmt.Sprint(number) {
			return fmt.Errorf("message %d is %q", number, message)
		}
	}
	if message, err := proxytest.Receive(stream); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after message %d: %q and error %v, want the end", count, message, err)
	}
	return nil
}

// A stream without any message, in either direction.
func TestNoMessages(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(receiveEnd)
		c := s.open(s.ctx)
		c.closeSend()
		c.expectEnd()
	})
}
