package proxy_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// outage is long enough for several reconnect attempts.
	outage = time.Second
	// recoveryTimeout bounds the time for which calls may still fail after the runtime's
	// return.
	recoveryTimeout = 3 * time.Second
)

// stopRuntime stops the runtime until the test starts it again.
func (s *fixture) stopRuntime() {
	s.t.Helper()
	s.restarted = true
	if err := s.runtime.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *fixture) startRuntime() {
	s.t.Helper()
	if err := s.runtime.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func TestRuntimeDiesDuringACall(t *testing.T) {
	for _, waiting := range waitingCalls {
		t.Run(waiting.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				s.client()
				result := make(chan error, 1)
				go func() { result <- waiting.wait(s.ctx, s) }()
				await(t, "the runtime is called", started)
				s.stopRuntime()
				if err := await(t, "the call ends", result); status.Code(err) != codes.Unavailable {
					t.Errorf("the client got %v, want Unavailable", err)
				}
				s.startRuntime()
			})
		})
	}
}

// While the runtime is down, calls fail immediately and name its socket. Once it is back, they
// soon succeed.
func TestRuntimeComesBack(t *testing.T) {
	tests := []struct {
		name  string
		leave func(socket string) error
	}{
		{"socket file left", func(string) error { return nil }},
		{"socket file removed", os.Remove},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(echo)
				if _, err := s.invoke(s.ctx, nil); err != nil {
					t.Fatal(err)
				}
				s.stopRuntime()
				if err := test.leave(s.runtime.Socket()); err != nil {
					t.Fatal(err)
				}
				// Only the call in which the client notices may fail without naming the socket.
				_, _ = s.invoke(s.ctx, nil)
				for end := time.Now().Add(outage); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					s.expectUnavailable()
				}
				s.startRuntime()
				s.expectRecovery()
			})
		})
	}
}

func (s *fixture) expectUnavailable() {
	s.t.Helper()
	start := time.Now()
	_, err := s.invoke(s.ctx, nil)
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), s.runtime.Socket()) {
		s.t.Fatalf("the client got %v, want Unavailable that names %s", err, s.runtime.Socket())
	}
	if took := time.Since(start); took > time.Second {
		s.t.Fatalf("the call took %v to fail", took)
	}
}

func (s *fixture) expectRecovery() {
	s.t.Helper()
	expectServed(s.t, s.client(), "of the fixture")
}
