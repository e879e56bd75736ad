package frames

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// Relayed and intercepted calls with large answers run concurrently over one connection, and
// each call gets its own answer.
func TestBothKindsAtOnce(t *testing.T) {
	const size = 8 << 20
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("unix", temporarySocket(t))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		_, _ = w.Write(body)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	serverSide, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, clientSide := socketPair(t)
	relay := NewRelay(clientSide, serverSide, func(fields []hpack.HeaderField) Plan {
		if !strings.HasPrefix(Field(fields, ":path"), "/intercepted") {
			return Plan{}
		}
		return Plan{Handler: echoTwice}
	})
	ran := make(chan error, 1)
	go func() { ran <- relay.Run() }()
	transport := &http.Transport{Protocols: protocols, DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	connection, err := transport.NewClientConn(t.Context(), "http", "localhost:80")
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for i := range 24 {
		calls.Go(func() {
			path, n := [...]string{"/intercepted", "/relayed"}[i%2], i*1000
			if i < 2 {
				n = size / 2
			}
			body := bytes.Repeat([]byte{byte('a' + i)}, n)
			for range 1 + 4*min(i/4, 1) {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost"+path, bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				response, err := connection.RoundTrip(request)
				if err != nil {
					t.Errorf("call %d: %v", i, err)
					return
				}
				got, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || !bytes.Equal(got, append(bytes.Clone(body), body...)) {
					t.Errorf("call %d got %d bytes and error %v", i, len(got), err)
					return
				}
			}
		})
	}
	calls.Wait()
	_ = connection.Close()
	_ = await(t, "the return of Run", ran)
	_ = server.Close()
	_ = await(t, "the end of the server", served)
	if relay.buffered != 0 || len(relay.intercepted) != 0 {
		t.Errorf("%d bytes and %d requests are still held", relay.buffered, len(relay.intercepted))
	}
}

// echoTwice answers with twice the body of the request.
func echoTwice(ctx context.Context, x *Exchange) {
	n, err := strconv.Atoi(Field(x.Fields(), "content-length"))
	if err != nil {
		return
	}
	body, err := x.Receive(ctx, n)
	if err != nil {
		return
	}
	x.Header([]hpack.HeaderField{{Name: ":status", Value: "200"}})
	for range 2 {
		if x.Data(ctx, body) != nil {
			return
		}
	}
	_ = x.End(nil)
}
