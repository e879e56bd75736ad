package proxy_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/proxytest"
)

// complement is a compression that client and runtime of a test support, but the frame engine
// does not.
type complement struct{}

const complementName = "complement"

var registerComplement = sync.OnceFunc(func() { encoding.RegisterCompressor(complement{}) })

func (complement) Name() string { return complementName }

func (complement) Compress(to io.Writer) (io.WriteCloser, error) {
	return &complementWriter{to: to}, nil
}

func (complement) Decompress(from io.Reader) (io.Reader, error) {
	data, err := io.ReadAll(from)
	return bytes.NewReader(complemented(data)), err
}

type complementWriter struct {
	to   io.Writer
	data []byte
}

func (w *complementWriter) Write(b []byte) (int, error) {
	w.data = append(w.data, b...)
	return len(b), nil
}

func (w *complementWriter) Close() error {
	_, err := w.to.Write(complemented(w.data))
	return err
}

func complemented(data []byte) []byte {
	data = bytes.Clone(data)
	for i := range data {
		data[i] = ^data[i]
	}
	return data
}

// Calls with changed answers may use every compression that C-core supports.
func TestInterceptedCompression(t *testing.T) {
	forEachEnginePassing(t, func(t *testing.T, s *fixture, _ *atomic.Int64) {
		for _, compressor := range []string{gzip.Name, "deflate"} {
			s.handle(func(stream grpc.ServerStream) error {
				_ = grpc.SetSendCompressor(stream.Context(), compressor) // if it was offered
				return echo(stream)
			})
			for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(compressor)}} {
				response, err := s.invoke(s.ctx, []byte("hi"), options...)
				if err != nil || string(response) != "hi!" {
					t.Errorf("%s: got %q, %v", compressor, response, err)
				}
			}
		}
	})
}

// If the shim has to read an answer, the runtime is offered only encodings that the shim can
// decode.
func TestAcceptedEncodings(t *testing.T) {
	registerComplement()
	interceptors, _ := passing()
	runtime := startRuntime(t)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: runtime.Socket(), Interceptors: interceptors})
	engine.awaitRuntime(t)
	s := newFixture(t, runtime, engine.socket, engine.connections.Open)
	accepted := make(chan []string, 1)
	handle := func(stream grpc.ServerStream) error {
		names, err := grpc.ClientSupportedCompressors(stream.Context())
		if err != nil {
			return err
		}
		accepted <- names
		if slices.Contains(names, complementName) {
			if err := grpc.SetSendCompressor(stream.Context(), complementName); err != nil {
				return err
			}
		}
		return echo(stream)
	}
	s.handle(handle)
	response, err := s.invoke(s.ctx, []byte("hi"))
	if names := await(t, "the runtime is asked", accepted); err != nil || string(response) != "hi!" || slices.Contains(names, complementName) || !slices.Contains(names, gzip.Name) {
		t.Errorf("got %q, %v; the runtime was offered %v", response, err, names)
	}
	s.runtime.Handle(other, handle) // which is not intercepted
	response, err = proxytest.Invoke(s.ctx, s.client(), other, []byte("hi"))
	if names := await(t, "the runtime is asked", accepted); err != nil || string(response) != "hi" || !slices.Contains(names, complementName) {
		t.Errorf("got %q, %v; the runtime was offered %v", response, err, names)
	}
}

// A request that can't be decoded must not bypass the interceptor.
func TestUnreadableRequestIsRefused(t *testing.T) {
	registerComplement()
	interceptors, unaryCalls := passing()
	runtime := startRuntime(t)
	ended := make(finishedCalls, 10)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: runtime.Socket(), Interceptors: interceptors, Observer: ended})
	engine.awaitRuntime(t)
	s := newFixture(t, runtime, engine.socket, engine.connections.Open)
	<-ended // for the fixture
	s.handle(func(grpc.ServerStream) error {
		t.Error("the runtime got the request")
		return nil
	})
	_, err := s.invoke(s.ctx, []byte("hi"), grpc.UseCompressor(complementName))
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), complementName) || unaryCalls.Load() != 0 {
		t.Errorf("got %v", err)
	}
	if call := await(t, "the call is reported", ended); call.Code != codes.Unimplemented {
		t.Errorf("it was reported as %+v", call)
	}
}

// Answers of the size that CRI-O sends are changed, larger ones are forwarded unchanged, and
// the observer learns of that.
func TestVeryLargePassedAnswers(t *testing.T) {
	interceptors, _ := passing()
	runtime := startRuntime(t)
	ended := make(finishedCalls, 10)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: runtime.Socket(), Interceptors: interceptors, Observer: ended})
	engine.awaitRuntime(t)
	s := newFixture(t, runtime, engine.socket, engine.connections.Open)
	<-ended
	for _, test := range []struct {
		size       int
		unrestored bool
	}{{80 << 20, false}, {129 << 20, true}, {1, false}} {
		s.handle(func(stream grpc.ServerStream) error {
			if _, err := proxytest.Receive(stream); err != nil {
				return err
			}
			return proxytest.Send(stream, make([]byte, test.size))
		})
		response, err := s.invoke(s.ctx, []byte("short"))
		changed := bytes.HasSuffix(response, []byte("!"))
		if err != nil || len(response) < test.size || changed == test.unrestored {
			t.Errorf("an answer of %d bytes: got %d, %v, changed %v", test.size, len(response), err, changed)
		}
		if call := await(t, "the call is reported", ended); call.Unrestored != test.unrestored || call.Code != codes.OK {
			t.Errorf("it was reported as %+v", call)
		}
	}
}
