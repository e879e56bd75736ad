package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/proxy/proxytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// respondWith returns a handler that answers with a message.
func respondWith(t *testing.T, message proto.Message) proxytest.Handler {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return func(stream grpc.ServerStream) error {
		if _, err := proxytest.Receive(stream); err != nil {
			return err
		}
		return proxytest.Send(stream, encoded)
	}
}

func TestProbe(t *testing.T) {
	version := respondWith(t, &cri.VersionResponse{RuntimeName: "containerd", RuntimeVersion: "1.6.0"})
	settings := respondWith(t, &cri.StatusResponse{Info: map[string]string{"config": `{"sandboxImage":"pause:1","registry":{"configPath":"/certs.d","auths":{"x":{"password":"canary"}}}}`}})
	failing := func(grpc.ServerStream) error { return status.Error(codes.Internal, "boom") }
	hanging := func(stream grpc.ServerStream) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	for _, test := range []struct {
		name     string
		methods  map[string]proxytest.Handler
		versions []string
		sandbox  string
		err      string
	}{
		{"both versions", map[string]proxytest.Handler{"v1.RuntimeService/Version": version, "v1alpha2.RuntimeService/Version": version, "v1.RuntimeService/Status": settings}, []string{"v1", "v1alpha2"}, "pause:1", ""},
		{"the old version", map[string]proxytest.Handler{"v1alpha2.RuntimeService/Version": version, "v1alpha2.RuntimeService/Status": settings}, []string{"v1alpha2"}, "pause:1", ""},
		{"no Status", map[string]proxytest.Handler{"v1.RuntimeService/Version": version}, []string{"v1"}, "", ""},
		{"settings that are no JSON", map[string]proxytest.Handler{"v1.RuntimeService/Version": version, "v1.RuntimeService/Status": respondWith(t, &cri.StatusResponse{Info: map[string]string{"config": "{"}})}, []string{"v1"}, "", ""},
		{"an error in one version", map[string]proxytest.Handler{"v1.RuntimeService/Version": failing, "v1alpha2.RuntimeService/Version": version}, nil, "", "boom"},
		{"an error in the old version", map[string]proxytest.Handler{"v1.RuntimeService/Version": version, "v1alpha2.RuntimeService/Version": failing, "v1.RuntimeService/Status": settings}, []string{"v1"}, "pause:1", ""},
		{"another server", nil, nil, "", "not a container runtime"},
		{"no answer", map[string]proxytest.Handler{"v1.RuntimeService/Version": hanging, "v1alpha2.RuntimeService/Version": hanging}, nil, "", "DeadlineExceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			runtime := proxytest.NewRuntime(filepath.Join(t.TempDir(), "s"))
			for method, handler := range test.methods {
				runtime.Handle("/runtime."+method, handler)
			}
			if err := runtime.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := runtime.Stop(); err != nil {
					t.Error(err)
				}
			})
			p := probe(t.Context(), runtime.Socket())
			if p.dialErr != nil || !slices.Equal(p.versions, test.versions) || (p.callErr == nil) != (test.err == "") || p.callErr != nil && !strings.Contains(p.callErr.Error(), test.err) {
				t.Errorf("%+v", p)
			}
			if s := p.readSettings(t.Context(), runtime.Socket()); s.SandboxImage != test.sandbox {
				t.Errorf("settings %+v", s)
			}
		})
	}
}

// TestSandboxImageThatIsNotNamed distinguishes a runtime that reports no sandbox image from
// one that fails to answer.
func TestSandboxImageThatIsNotNamed(t *testing.T) {
	n := &node{runtime: criServer{version: &cri.VersionResponse{RuntimeName: "cri-o"}}}
	for want, err := range map[string]error{"neither reported by the runtime nor set in": nil, "asking the runtime for the name of the image failed: boom": errors.New("boom")} {
		n.runtimeSettings.err = err
		if got := checkSandboxImage(t.Context(), n); len(got) != 1 || got[0].Level != Warn || !strings.Contains(got[0].Text, want) {
			t.Errorf("%v: %+v, want %q", err, got, want)
		}
	}
}

// TestMissingSandbox distinguishes a registry that lacks the image from an unreachable one.
func TestMissingSandbox(t *testing.T) {
	for _, test := range []struct {
		answers []string
		want    Level
		text    string
	}{
		{[]string{"absent"}, Fail, "neither on the node nor in a configured registry"},
		{[]string{"absent", "could not ask"}, Warn, "hub1 could not be asked: timeout"},
		{[]string{"could not ask", "found"}, OK, "hub1 has it"},
	} {
		image := explain.Image{Image: "pause:3", Reference: "docker.io/library/pause:3"}
		for i, answer := range test.answers {
			image.Registries = append(image.Registries, explain.Registry{Registry: fmt.Sprintf("hub%d", i), Reference: image.Reference, Answer: answer, Reason: "timeout"})
		}
		if got := (&node{Options: Options{Settings: &config.Config{}}}).missingSandboxFinding(topic{"sandbox image", "pause:3"}, image); got.Level != test.want || !strings.Contains(got.Text, test.text) {
			t.Errorf("%v: %+v, want %q", test.answers, got, test.text)
		}
	}
}

// TestProbeNoRuntime probes a server that accepts connections and does not speak gRPC.
func TestProbeNoRuntime(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = connection.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	if p := probe(context.Background(), socket); p.dialErr != nil || p.callErr == nil || p.answers() {
		t.Errorf("%+v", p)
	}
}
