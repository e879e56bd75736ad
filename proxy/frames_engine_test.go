package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

var framesEngine = engineUnderTest{"frames", engineStarter(proxy.EngineFrames)}

// A client that connects while the runtime is down gets an error immediately, is served when
// the runtime is back, and soon has its own connection to it.
func TestFramesWithoutRuntime(t *testing.T) {
	runtime := proxytest.NewRuntime(temporarySocket(t))
	runtime.Handle(method, echo)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: runtime.Socket()})
	client, err := proxytest.Dial(engine.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	_, err = proxytest.Invoke(ctx, client, method, []byte("hi"))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), runtime.Socket()) {
		t.Errorf("without the runtime: %v, want Unavailable and %s", err, runtime.Socket())
	}
	if err := runtime.Start(); err != nil {
		t.Fatal(err)
	}
	defer runtime.Stop()
	works := func() bool {
		got, err := proxytest.Invoke(ctx, client, method, []byte("hi"))
		return err == nil && string(got) == "hi"
	}
	eventually(t, "the runtime answers", works)
	// One connection is shared by all clients that connected without a runtime.
	eventually(t, "the client is relayed", func() bool { return works() && runtime.Connections() == 2 })
	_ = client.Close()
	eventually(t, "its connection has ended", func() bool { return runtime.Connections() == 1 })
	_ = engine.Close()
	eventually(t, "the runtime has no connection", func() bool { return runtime.Connections() == 0 })
}

// A runtime's socket may also serve HTTP/1.1 (CRI-O's does).
func TestFramesHTTP1(t *testing.T) {
	socket := startHTTPRuntime(t)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: socket})
	for proto, enable := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2.0": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", engine.socket)
		}}
		enable(transport.Protocols)
		client := &http.Client{Transport: transport, Timeout: testTimeout}
		body := strings.Repeat("body", 50_000)
		for range 3 {
			response, err := client.Post("http://localhost/info", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatalf("%s: %v", proto, err)
			}
			got, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || string(got) != proto+" /info "+body {
				t.Errorf("%s: got %d bytes, %.20q, and error %v", proto, len(got), got, err)
			}
		}
		client.CloseIdleConnections()
	}
}

// startHTTPRuntime serves HTTP/1.1 and HTTP/2 on the returned socket.
func startHTTPRuntime(t *testing.T) (socket string) {
	t.Helper()
	socket = temporarySocket(t)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	runtime := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Proto+" "+r.URL.Path+" "+string(body))
	})}
	runtime.Protocols.SetHTTP1(true)
	runtime.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() { served <- runtime.Serve(listener) }()
	t.Cleanup(func() {
		_ = runtime.Close()
		_ = await(t, "the runtime ends", served)
		_ = os.Remove(socket)
	})
	return socket
}

// An idle HTTP/1.1 client does not delay a shutdown.
func TestFramesShutdownWithIdleHTTP1(t *testing.T) {
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: startHTTPRuntime(t)})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine.socket)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: testTimeout}).Get("http://localhost/info")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close() // the connection stays open
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := engine.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestUnknownEngine(t *testing.T) {
	server, err := proxy.New(proxy.Options{Engine: "steam"})
	if err == nil || server != nil {
		t.Fatalf("got %v and error %v", server, err)
	}
	for _, word := range []string{`"steam"`, "frames", "grpc"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error %q does not name %s", err, word)
		}
	}
}

// A client that does not read its answer does not delay the end.
func TestFramesShutdownOfClientThatDoesNotRead(t *testing.T) {
	runtime := startRuntime(t)
	engine := runEngine(t, framesEngine, proxy.Options{Runtime: runtime.Socket()})
	sending := make(chan struct{})
	runtime.Handle(method, func(stream grpc.ServerStream) error {
		close(sending)
		for {
			if err := proxytest.Send(stream, make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	})
	conn, err := net.Dial("unix", engine.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	floodWindows(t, conn)
	await(t, "the runtime sends", sending)
	ctx, cancel := context.WithCancel(t.Context())
	shutdown := make(chan error, 1)
	go func() { shutdown <- engine.Shutdown(ctx) }()
	eventually(t, "the socket is closed", func() bool {
		other, err := net.Dial("unix", engine.socket)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	cancel()
	_ = await(t, "Shutdown returns", shutdown)
}

// floodWindows makes a call with windows large enough for any answer, and reads nothing.
func floodWindows(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "localhost"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	err := errors.Join(
		framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}),
		framer.WriteWindowUpdate(0, 1<<30),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, []byte("\x00\x00\x00\x00\x00")),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// A stream that the runtime refuses is retried, as in grpc-go's client: the runtime may be
// shutting down.
func TestFramesRefusedStream(t *testing.T) {
	listener, err := net.Listen("unix", temporarySocket(t))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { // after the engine has disconnected
		_ = listener.Close()
		serving.Wait()
	})
	var asked atomic.Int64
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { refuseOnce(connection, &asked) })
		}
	})
	options := proxy.Options{Runtime: listener.Addr().String(), Interceptors: intercept.Interceptors{Stream: map[string]intercept.Stream{
		method: func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
			return request, nil, nil
		},
	}}}
	engine := runEngine(t, framesEngine, options)
	client, err := proxytest.Dial(engine.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	stream, err := proxytest.Open(ctx, client, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(proxytest.Send(stream, []byte("hi")), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if _, err := proxytest.Receive(stream); !errors.Is(err, io.EOF) || asked.Load() != 2 {
		t.Errorf("it ended with %v, asked %d times", err, asked.Load())
	}
}

// refuseOnce answers the second of all requests with OK and no message, and refuses the others.
func refuseOnce(connection net.Conn, asked *atomic.Int64) {
	defer func() { _ = connection.Close() }()
	if _, err := io.ReadFull(connection, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(connection, connection)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			if asked.Add(1) != 2 {
				_ = framer.WriteRSTStream(frame.StreamID, http2.ErrCodeRefusedStream)
				continue
			}
			var block bytes.Buffer
			encoder := hpack.NewEncoder(&block)
			for _, field := range []hpack.HeaderField{
				{Name: ":status", Value: "200"}, {Name: "content-type", Value: "application/grpc"}, {Name: "grpc-status", Value: "0"},
			} {
				_ = encoder.WriteField(field)
			}
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		}
	}
}
