package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"image-cri-shim/proxy/proxytest"
)

// expectStatus checks code, message and details.
func expectStatus(t *testing.T, err error, want *status.Status) {
	t.Helper()
	got, ok := status.FromError(err)
	if !ok || !proto.Equal(got.Proto(), want.Proto()) {
		t.Errorf("got the status %v (error %v), want %v", got.Proto(), err, want.Proto())
	}
}

func detailed(t *testing.T, code codes.Code, message string) *status.Status {
	t.Helper()
	s, err := status.New(code, message).WithDetails(
		&errdetails.ErrorInfo{Reason: "IMAGE_MISSING", Domain: "runtime", Metadata: map[string]string{"image": "nginx:1.25"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every defined code and one undefined code, with and without details, instead of a response
// and after one.
func TestStatus(t *testing.T) {
	all := []codes.Code{99}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		all = append(all, code)
	}
	forEachTarget(t, func(t *testing.T, s *fixture) {
		for _, code := range all {
			for _, want := range []*status.Status{
				status.New(code, "no details"),
				detailed(t, code, "with details"),
			} {
				s.handle(func(grpc.ServerStream) error { return want.Err() })
				_, err := s.invoke(s.ctx, nil)
				expectStatus(t, err, want)

				s.handle(func(stream grpc.ServerStream) error {
					if err := proxytest.Send(stream, []byte("one")); err != nil {
						return err
					}
					return want.Err()
				})
				c := s.open(s.ctx)
				c.expect("one")
				_, err = proxytest.Receive(c)
				expectStatus(t, err, want)
			}
		}
	})
}

func TestStatusMessage(t *testing.T) {
	messages := map[string]string{
		"empty":           "",
		"percent":         "100% of %41%zz%",
		"control":         "line one\nline two\r\ttab \x00\x7f",
		"not ASCII":       "größer, 世界, 🚢",
		"spaces":          "  around  ",
		"8 KiB":           strings.Repeat("registry unavailable; ", 400),
		"kubelet prefix":  "RegistryUnavailable: pull failed",
		"grpc-go's shape": `rpc error: code = NotFound desc = "quoted"`,
	}
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				for _, want := range []*status.Status{
					status.New(codes.NotFound, message),
					detailed(t, codes.NotFound, message),
				} {
					s.handle(func(grpc.ServerStream) error { return want.Err() })
					_, err := s.invoke(s.ctx, nil)
					expectStatus(t, err, want)
				}
			})
		})
	}
}

// The runtime rejects unknown methods in its own words.
func TestUnknownMethod(t *testing.T) {
	for _, unknown := range []string{
		"/containerd.services.unknown.v1.Unknown/Method",
		"/conformance.v1.Service/Unknown",
		"/conformance.v1.Service/",
		"//",
	} {
		t.Run(unknown, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				_, err := proxytest.Invoke(s.ctx, s.client(), unknown, []byte("request"))
				expectStatus(t, err, status.New(codes.Unimplemented, fmt.Sprintf("the runtime has no method %s", unknown)))
			})
		})
	}
}
