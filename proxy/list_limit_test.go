package proxy_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// explained appends a text to the runtime's error.
type explained struct {
	*status.Status
	text string
}

func (e explained) Error() string              { return e.Err().Error() }
func (e explained) GRPCStatus() *status.Status { return e.Status }
func (e explained) Appended() string           { return e.text }

// TestAppendedTextIsCut has a client that accepts header lists of 8 KiB. It gets the runtime's
// error although a long text was appended to the error.
func TestAppendedTextIsCut(t *testing.T) {
	for name, test := range map[string]struct{ own, appended, trailer string }{
		"ASCII":     {strings.Repeat("o", 7000), "; tried " + strings.Repeat("x", 1500), "trailer"},
		"non-ASCII": {strings.Repeat("镜", 500), "; tried " + strings.Repeat("像", 500), "trailer"},
		"trailer":   {strings.Repeat("o", 3000), "; tried " + strings.Repeat("x", 1500), strings.Repeat("t", 4000)},
	} {
		t.Run(name, func(t *testing.T) {
			handle := unary(func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
				_, err := invoke(ctx, method, request)
				full := status.Convert(err).Proto()
				full.Message += test.appended
				return nil, explained{status.FromProto(full), test.appended}
			})
			forEachEngineWith(t, handle, func(t *testing.T, s *fixture) {
				s.handle(func(stream grpc.ServerStream) error {
					stream.SetTrailer(metadata.Pairs("some-trailer", test.trailer))
					return status.Error(codes.NotFound, test.own)
				})
				s.dial(grpc.WithMaxHeaderListSize(8 << 10))
				_, err := proxytest.Invoke(s.ctx, s.client(), method, nil)
				text, ok := strings.CutPrefix(status.Convert(err).Message(), test.own)
				if status.Code(err) != codes.NotFound || !ok || !strings.HasPrefix(text, "; tried ") || !strings.HasSuffix(text, "...") {
					t.Errorf("got %v: %.60q, ends with %.60q", status.Code(err), status.Convert(err).Message(), text)
				}
			})
		})
	}
}

// TestAppendedTextIsCutToClientsLimit has a client that announces a limit below 8 KiB, which
// the frame engine sees.
func TestAppendedTextIsCutToClientsLimit(t *testing.T) {
	handle := unary(func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
		_, err := invoke(ctx, method, request)
		full := status.Convert(err).Proto()
		appended := "; tried " + strings.Repeat("x", 3000)
		full.Message += appended
		return nil, explained{status.FromProto(full), appended}
	})
	runtime := startRuntime(t)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: runtime.Socket(), Interceptors: handle})
	engine.awaitRuntime(t)
	s := newFixture(t, runtime, engine.socket, engine.connections.Open)
	s.handle(func(grpc.ServerStream) error { return status.Error(codes.NotFound, "own") })
	s.dial(grpc.WithMaxHeaderListSize(1000))
	_, err := proxytest.Invoke(s.ctx, s.client(), method, nil)
	text := status.Convert(err).Message()
	if status.Code(err) != codes.NotFound || !strings.HasPrefix(text, "own; tried xxx") || !strings.HasSuffix(text, "...") {
		t.Errorf("got %v: %.60q", status.Code(err), text)
	}
}
