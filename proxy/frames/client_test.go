package frames

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// clientFixture has a Client and the servers that it dials. A test sends and expects the
// frames of the servers.
type clientFixture struct {
	t       *testing.T
	client  *Client
	servers chan *peer
}

func newClientFixture(t *testing.T) *clientFixture {
	r := &clientFixture{t: t, servers: make(chan *peer, 2*connectionLimit)}
	var mutex sync.Mutex
	var all []net.Conn
	r.client = NewClient(func(context.Context) (net.Conn, error) {
		one, other := socketPair(t)
		mutex.Lock()
		defer mutex.Unlock()
		all = append(all, other)
		server := newPeer(t, "server", other)
		server.ignoreAcks = true
		r.servers <- server
		return one, nil
	})
	t.Cleanup(func() {
		closed := make(chan error, 1)
		go func() { closed <- r.client.Close() }()
		if err := await(t, "the return of Close", closed); err != nil {
			t.Error(err)
		}
		for _, conn := range all {
			_ = conn.Close()
		}
	})
	return r
}

// server returns the next server that the client has dialled, after the exchange of the
// connection prefaces.
func (r *clientFixture) server(settings ...http2.Setting) *peer {
	r.t.Helper()
	p := await(r.t, "a connection to the server", r.servers)
	p.settings(settings...)
	p.readPreface()
	p.expect("SETTINGS INITIAL_WINDOW_SIZE=1048576", fmt.Sprintf("WINDOW_UPDATE 0 %d", connectionWindow-defaultWindow))
	return p
}

// answered is the result of a request.
type answered struct {
	header, trailer []hpack.HeaderField
	body            []byte
	err             error
}

// do sends a request and waits for its complete answer in a goroutine.
func (r *clientFixture) do(ctx context.Context, path, body string) <-chan answered {
	result := make(chan answered, 1)
	go func() {
		var a answered
		var answer *Answer
		if answer, a.err = r.client.Do(ctx, request(path, body)); a.err == nil {
			a.header, a.trailer, a.body, a.err = answer.All(ctx)
		}
		result <- a
	}()
	return result
}

func request(path, body string) Request {
	var fields []hpack.HeaderField
	for _, text := range requestOf(path) {
		fields = append(fields, field(text))
	}
	return Request{Fields: fields, Body: []byte(body)}
}

// expectAll waits for an answer and checks its body.
func (r *clientFixture) expectAll(result <-chan answered, body string) {
	r.t.Helper()
	switch a := await(r.t, "the answer", result); {
	case a.err != nil:
		r.t.Errorf("the request failed: %v", a.err)
	case string(a.body) != body || Field(a.header, ":status") != "200" || Field(a.trailer, "grpc-status") != "0":
		r.t.Errorf("the answer is %v %.20q %v", a.header, a.body, a.trailer)
	}
}

func (r *clientFixture) expectError(result <-chan answered, want error) {
	r.t.Helper()
	if a := await(r.t, "the answer", result); !errors.Is(a.err, want) {
		r.t.Errorf("the answer is %.20q with error %v, want %v", a.body, a.err, want)
	}
}

func (p *peer) answer(id uint32, body string) {
	p.t.Helper()
	p.headers(id, false, ":status=200")
	p.data(id, false, body)
	p.headers(id, true, "grpc-status=0")
}

func TestClient(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/one", "body")
	s := r.server()
	s.expectRequest(1, "/one", false)
	s.expect(dataLine(1, true, "body"))
	second := r.do(t.Context(), "/two", "")
	s.expectRequest(3, "/two", true)
	s.answer(3, "2")
	r.expectAll(second, "2")
	s.ping("12345678", false)
	s.expect("PING ack 12345678")
	s.answer(1, "1")
	r.expectAll(first, "1")

	only := r.do(t.Context(), "/three", "") // an answer of one header block
	s.expectRequest(5, "/three", true)
	s.headers(5, true, ":status=200", "grpc-status=7")
	if a := await(t, "the answer", only); a.err != nil || len(a.header) != 0 || Field(a.trailer, "grpc-status") != "7" || Field(a.trailer, ":status") != "200" {
		t.Errorf("the answer is %+v", a)
	}
}

// A body is sent as far as the windows of the stream and of the connection allow.
func TestClientKeepsToServersWindows(t *testing.T) {
	r := newClientFixture(t)
	body := strings.Repeat("0123456789", 10_000)
	result := r.do(t.Context(), "/upload", body)
	s := r.server()
	s.expectRequest(1, "/upload", false)
	s.expectData(1, false, body[:defaultWindow])
	s.windowUpdate(1, 1000) // the window of the connection stays full
	s.ping("12345678", false)
	s.expect("PING ack 12345678")
	s.windowUpdate(0, 500)
	s.expectData(1, false, body[defaultWindow:defaultWindow+500])
	s.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 20_000})
	s.windowUpdate(0, 100_000)
	s.windowUpdate(1, 65_035) // the window of the stream is 0 now
	s.ping("12345678", false)
	s.expect("PING ack 12345678")
	s.windowUpdate(1, 100_000)
	s.expectData(1, true, body[defaultWindow+500:])
	s.answer(1, "ok")
	r.expectAll(result, "ok")
}

// 20 MB are sent in each direction.
func TestClientBigBodies(t *testing.T) {
	r := newClientFixture(t)
	body := strings.Repeat("x", 20<<20)
	result := r.do(t.Context(), "/echo", body)
	s := r.server(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	s.windowUpdate(0, 1<<30)
	s.expectRequest(1, "/echo", false)
	got := 0
	for ended := false; !ended; {
		f, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := f.(*http2.DataFrame); ok {
			got += len(data.Data())
			ended = data.StreamEnded()
		}
	}
	if got != len(body) {
		t.Fatalf("the server got %d bytes", got)
	}
	s.headers(1, false, ":status=200")
	windows := map[uint32]int{0: connectionWindow, 1: receiveWindow}
	for left := len(body); left > 0; {
		n := min(left, defaultMaxFrame, windows[0], windows[1])
		if n == 0 {
			f, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			if update, ok := f.(*http2.WindowUpdateFrame); ok {
				windows[update.StreamID] += int(update.Increment)
			}
			continue
		}
		s.data(1, false, body[:n])
		left -= n
		windows[0] -= n
		windows[1] -= n
	}
	s.headers(1, true, "grpc-status=0")
	r.expectAll(result, body)
}

// For a streamed answer, the server gets credit when Receive reads it, and no sooner.
func TestClientStreamsAnswer(t *testing.T) {
	r := newClientFixture(t)
	request := request("/stream", "")
	request.Stream = true
	answers := make(chan *Answer, 1)
	go func() {
		answer, err := r.client.Do(t.Context(), request)
		if err != nil {
			t.Error(err)
		}
		answers <- answer
	}()
	s := r.server()
	s.expectRequest(1, "/stream", true)
	s.headers(1, false, ":status=200")
	answer := await(t, "the beginning of the answer", answers)
	if header, err := answer.Header(t.Context()); err != nil || Field(header, ":status") != "200" {
		t.Errorf("Header: %v, %v", header, err)
	}
	piece := strings.Repeat("x", defaultMaxFrame)
	for range receiveWindow / len(piece) {
		s.data(1, false, piece)
	}
	s.ping("12345678", false)
	s.expect("PING ack 12345678") // without WINDOW_UPDATE before
	got, err := answer.Receive(t.Context(), receiveWindow/2)
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("x"), receiveWindow/2)) {
		t.Errorf("Receive: %d bytes, %v", len(got), err)
	}
	s.expect(fmt.Sprintf("WINDOW_UPDATE 1 %d", receiveWindow))
	s.headers(1, true, "grpc-status=0")
	if _, err := answer.Receive(t.Context(), receiveWindow/2+1); err == nil || err.Error() != "unexpected EOF" {
		t.Errorf("Receive: %v, want unexpected EOF", err)
	}
	if got, err := answer.Receive(t.Context(), receiveWindow/2); err != nil || len(got) != receiveWindow/2 {
		t.Errorf("Receive: %d bytes, %v", len(got), err)
	}
	if _, err := answer.Receive(t.Context(), 1); err == nil || err.Error() != "EOF" {
		t.Errorf("Receive: %v, want EOF", err)
	}
	if trailer := answer.Trailer(); Field(trailer, "grpc-status") != "0" {
		t.Errorf("Trailer: %v", trailer)
	}
}

// A request that the server does not answer fails with a specific error. The next request
// succeeds.
func TestClientWithoutAnswer(t *testing.T) {
	tests := map[string]struct {
		fail func(*peer)
		want error
		gone bool
	}{
		"reset":             {func(p *peer) { p.reset(1, http2.ErrCodeInternal) }, ResetError{http2.ErrCodeInternal}, false},
		"closed":            {func(p *peer) { _ = p.conn.Close() }, ErrServerDisconnected, true},
		"closed in answer":  {func(p *peer) { p.headers(1, false, ":status=200"); _ = p.conn.Close() }, ErrServerDisconnected, true},
		"malformed headers": {func(p *peer) { p.headers(1, false, "UPPER=case") }, http2.StreamError{StreamID: 1, Code: http2.ErrCodeProtocol}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newClientFixture(t)
			result := r.do(t.Context(), "/lost", "")
			s := r.server()
			s.expectRequest(1, "/lost", true)
			test.fail(s)
			switch stream, ok := test.want.(http2.StreamError); {
			case ok:
				a := await(t, "the answer", result)
				if got, ok := errors.AsType[http2.StreamError](a.err); !ok || got.StreamID != stream.StreamID || got.Code != stream.Code {
					t.Errorf("the error is %v, want %v", a.err, stream)
				}
				s.expect("RST_STREAM 1 PROTOCOL_ERROR")
			default:
				r.expectError(result, test.want)
			}
			next := r.do(t.Context(), "/next", "")
			id := uint32(3)
			if test.gone {
				s, id = r.server(), 1
			}
			s.expectRequest(id, "/next", true)
			s.answer(id, "next")
			r.expectAll(next, "next")
		})
	}
}

// A request that the server accepted before GOAWAY is answered. Later requests use a new
// connection.
func TestClientLeavesServerThatGoes(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := r.server()
	s.expectRequest(1, "/first", true)
	s.goAway(1)
	s.ping("12345678", false)
	s.expect("PING ack 12345678")
	second := r.do(t.Context(), "/second", "")
	other := r.server()
	other.expectRequest(1, "/second", true)
	s.answer(1, "first")
	r.expectAll(first, "first")
	s.expect("end")
	other.answer(1, "second")
	r.expectAll(second, "second")
}

// Requests beyond the server's limit of concurrent streams use another connection.
func TestClientStreamsOfServer(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := r.server(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	s.expectRequest(1, "/first", true)
	s.ping("12345678", false)
	s.expect("PING ack 12345678")
	second := r.do(t.Context(), "/second", "")
	other := r.server()
	other.expectRequest(1, "/second", true)
	s.answer(1, "first")
	r.expectAll(first, "first")
	other.answer(1, "second")
	r.expectAll(second, "second")
}

// Cancelling a request resets its stream, whatever part of the request or the answer has been
// sent.
func TestClientCancel(t *testing.T) {
	tests := map[string]struct {
		body   string
		before func(*peer)
	}{
		"before the answer": {"", func(p *peer) { p.expectRequest(1, "/cancelled", true) }},
		"in the answer": {"", func(p *peer) {
			p.expectRequest(1, "/cancelled", true)
			p.headers(1, false, ":status=200")
			p.data(1, false, "something")
		}},
		"in the body": {strings.Repeat("x", defaultWindow+1), func(p *peer) {
			p.expectRequest(1, "/cancelled", false)
			p.expectData(1, false, strings.Repeat("x", defaultWindow))
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newClientFixture(t)
			ctx, cancel := context.WithCancel(t.Context())
			result := r.do(ctx, "/cancelled", test.body)
			s := r.server()
			test.before(s)
			cancel()
			s.expect("RST_STREAM 1 CANCEL")
			r.expectError(result, context.Canceled)
			next := r.do(t.Context(), "/next", "")
			s.expectRequest(3, "/next", true)
			s.data(1, true, "late")
			s.answer(3, "next")
			r.expectAll(next, "next")
		})
	}
}

// An answer that is complete before the body is sent ends the request.
func TestClientAnsweredEarly(t *testing.T) {
	r := newClientFixture(t)
	result := r.do(t.Context(), "/early", strings.Repeat("x", defaultWindow+1))
	s := r.server()
	s.expectRequest(1, "/early", false)
	s.expectData(1, false, strings.Repeat("x", defaultWindow))
	s.answer(1, "early")
	r.expectAll(result, "early")
	s.expect("RST_STREAM 1 CANCEL") // so that the server does not wait for the rest
}

// If the server cannot be dialled, Do fails at once, and Connect retries.
func TestClientWithoutServer(t *testing.T) {
	refused := errors.New("refused")
	var attempts int
	var mutex sync.Mutex
	server := make(chan *peer, 1)
	client := NewClient(func(context.Context) (net.Conn, error) {
		mutex.Lock()
		defer mutex.Unlock()
		if attempts++; attempts < 4 {
			return nil, refused
		}
		one, other := socketPair(t)
		server <- newPeer(t, "server", other)
		return one, nil
	})
	if _, err := client.Do(t.Context(), request("/", "")); !errors.Is(err, refused) {
		t.Errorf("Do: %v, want the error of dial", err)
	}
	connected := make(chan error, 1)
	go func() { connected <- client.Connect(t.Context()) }()
	s := await(t, "a connection to the server", server)
	s.settings()
	if err := await(t, "the return of Connect", connected); err != nil {
		t.Errorf("Connect: %v", err)
	}
	_ = client.Close()
	_ = client.Close()
	_ = s.conn.Close()
	if err := client.Connect(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Connect after Close: %v, want ErrClosed", err)
	}
	if _, err := client.Do(t.Context(), request("/", "")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Do after Close: %v, want ErrClosed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refuses := NewClient(func(context.Context) (net.Conn, error) { return nil, refused })
	defer refuses.Close()
	if err := refuses.Connect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Connect: %v, want the error of its context", err)
	}
}

// Close ends running requests.
func TestClientClose(t *testing.T) {
	r := newClientFixture(t)
	whole := r.do(t.Context(), "/whole", "")
	s := r.server()
	s.expectRequest(1, "/whole", true)
	upload := r.do(t.Context(), "/upload", strings.Repeat("x", 2*defaultWindow))
	s.expectRequest(3, "/upload", false)
	_ = r.client.Close()
	r.expectError(whole, net.ErrClosed)
	r.expectError(upload, net.ErrClosed)
}
