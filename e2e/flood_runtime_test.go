package e2e

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

const imageStatus = "/runtime.v1.ImageService/ImageStatus"

// TestRuntimesThatFlood uses a runtime with excessive or invalid answers, to calls that the
// shim decodes and to others. The calls end, and the shim's memory stays low.
func TestRuntimesThatFlood(t *testing.T) {
	const prefix = "\x00\x7f\xff\xff\xff" // of a message of 2 GiB
	answers := map[string]http.HandlerFunc{
		"an endless message": func(response http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(response, prefix)
			_, _ = io.Copy(response, io.LimitReader(zeroReader{}, floodSize/2))
		},
		"many messages": func(response http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(response, io.LimitReader(&repeatedText{text: frameMessage(strings.Repeat("x", 16<<10))}, floodSize/2))
		},
		"a gzip bomb": func(response http.ResponseWriter, _ *http.Request) {
			response.Header().Set("Grpc-Encoding", "gzip")
			_, _ = io.WriteString(response, gzipBomb())
			setOKTrailer(response)
		},
		"a message of another type": func(response http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(response, frameMessage("\xff\xff\xff\x0a\xff"))
			setOKTrailer(response)
		},
		"no gRPC message": func(response http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(response, "no message")
			setOKTrailer(response)
		},
		"too large a header": func(response http.ResponseWriter, _ *http.Request) {
			response.Header().Set("X-Flood", strings.Repeat("x", 18<<20))
		},
		"too large a trailer": func(response http.ResponseWriter, _ *http.Request) {
			response.Header().Set(http.TrailerPrefix+"X-Flood", strings.Repeat("x", 18<<20))
		},
		"HTML instead of gRPC": func(response http.ResponseWriter, _ *http.Request) {
			response.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(response, strings.Repeat("<html>", 1<<20))
		},
	}
	image, err := proto.Marshal(&runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			onEachEngine(t, func(t *testing.T) {
				runtime := http.NewServeMux()
				runtime.HandleFunc("/runtime.v1.RuntimeService/Status", func(response http.ResponseWriter, _ *http.Request) { setOKTrailer(response) })
				runtime.HandleFunc("/", answer)
				shim := startPlainShim(t, serveRuntime(t, runtime))
				for _, method := range []string{imageStatus, version} {
					ctx, cancel := context.WithCancel(testContext(t))
					code, err := post(ctx, shim.Socket(), method, strings.NewReader(frameMessage(string(image))), "")
					cancel()
					// A message of the wrong type is checked by the client, like all messages that the
					// shim does not decode.
					if code == "0" && method == imageStatus && name != "a message of another type" {
						t.Errorf("%s succeeded, want an error", method)
					}
					t.Logf("%s: status %q, error %v", method, code, err)
				}
				if code, err := post(testContext(t), shim.Socket(), "/runtime.v1.RuntimeService/Status", strings.NewReader(frameMessage("")), ""); code != "0" {
					t.Errorf("afterwards: status %q, error %v", code, err)
				}
			})
		})
	}
}

// frameMessage returns a text with gRPC's message prefix.
func frameMessage(text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))) + text
}

// setOKTrailer sets the trailer of the status OK.
func setOKTrailer(response http.ResponseWriter) {
	response.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}

// serveRuntime serves a runtime with this handler until the test ends, and returns the path
// of its socket.
func serveRuntime(t *testing.T, handler http.Handler) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "runtime-") // not t.TempDir, whose path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := filepath.Join(folder, "runtime.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body)
		response.Header().Set("Content-Type", "application/grpc")
		handler.ServeHTTP(response, request)
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return socket
}

// startPlainShim starts a shim without the race detector in front of the runtime at a socket.
func startPlainShim(t *testing.T, runtime string) *testbed.Shim {
	t.Helper()
	binary, err := plainShim()
	if err != nil {
		t.Fatal(err)
	}
	shim, err := testbed.StartShim(testContext(t), testbed.ShimOptions{
		Binary: binary, Folder: filepath.Dir(runtime), Runtime: runtime, Configuration: "debug: true\n" + engine(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		wantPeak(t, shim, floodLimit)
		if err := shim.Stop(); err != nil {
			t.Errorf("the shim ended with: %v", err)
		}
	})
	return shim
}
