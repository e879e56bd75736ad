package frames

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// FuzzRelay sends arbitrary bytes from both sides. The relay must end when both sides have
// closed their connections, must keep to its limits, and must send valid HTTP/2 to the server.
func FuzzRelay(f *testing.F) {
	client, server := recordCalls(f)
	for _, take := range []byte{0, 1, 2, 0x43, 0x82} {
		f.Add(client, server, byte(200), take)
		f.Add(client, server, byte(1), take)
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"), byte(3), byte(0))
	f.Fuzz(func(t *testing.T, client, server []byte, chunk, take byte) {
		if len(client) > 1<<20 || len(server) > 1<<20 {
			t.Skip()
		}
		c, clientSide := newWire()
		s, serverSide := newWire()
		var requests byte
		relay := NewRelay(clientSide, serverSide, func(fields []hpack.HeaderField) Plan {
			requests++
			plan := Plan{Watch: func(Side, []byte) {}, Ended: func(Outcome) {}}
			if take>>(requests%8)&1 == 0 {
				return plan
			}
			if take&0x10 != 0 {
				plan.Restoration = &Restoration{Fields: slices.Clone(fields), Unchanged: func(beginning []byte) bool { return len(beginning)%2 == 1 },
					Restore: func(_ context.Context, of Answered, _ bool) (Restored, error) {
						return Restored{Body: slices.Concat(of.Request, of.Body)}, nil
					}}
				return plan
			}
			plan.Handler = answerWith(Field(fields, ":path"))
			plan.Decide = func(fields []hpack.HeaderField, _ []byte) *Restoration {
				if take&0x40 == 0 {
					return nil
				}
				restoration := &Restoration{Fields: fields, Restore: func(_ context.Context, of Answered, mayBlock bool) (Restored, error) {
					body := of.Body
					if !mayBlock && len(body)%2 == 1 {
						return Restored{}, ErrWouldBlock
					}
					return Restored{Body: slices.Concat(body, body)}, nil
				}}
				if take&0x20 != 0 {
					restoration.Unchanged = func(beginning []byte) bool { return len(beginning)%2 == 1 }
				}
				return restoration
			}
			return plan
		})
		ran := make(chan error, 1)
		go func() { ran <- relay.Run() }()
		var both sync.WaitGroup
		both.Go(func() { c.send(client, int(chunk)+1) })
		both.Go(func() { s.send(server, int(chunk)+1) })
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			both.Wait()
		}()
		select {
		case <-sent:
		case <-time.After(10 * time.Millisecond): // a side may block for lack of credit
		}
		if take&0x80 != 0 {
			relay.Drain()
		}
		runtime.Gosched()
		_ = c.Close()
		_ = s.Close()
		<-sent
		select {
		case <-ran:
		case <-time.After(testTimeout):
			panic("the relay did not end") // prints all goroutines
		}
		if !bytes.HasPrefix(client, []byte(http2.ClientPreface)) {
			return
		}
		if rest, ok := bytes.CutPrefix(s.received(), []byte(http2.ClientPreface)); ok {
			checkRelayed(t, rest)
		}
		if got := len(c.received()); got > 2*len(server)+20*len(client)+1000 {
			t.Errorf("the client got %d bytes, more than the limits allow", got)
		}
		if relay.buffered < 0 || relay.buffered > len(client) || len(relay.relayed) > 0 {
			t.Errorf("%d bytes and %d requests are still held", relay.buffered, len(relay.relayed))
		}
	})
}

// wire is the test's end of an in-memory connection. The relay has the other end.
type wire struct {
	net.Conn
	mutex sync.Mutex
	got   []byte
	ended chan struct{}
}

func newWire() (*wire, net.Conn) {
	mine, other := net.Pipe()
	w := &wire{Conn: mine, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := mine.Read(buffer)
			w.mutex.Lock()
			w.got = append(w.got, buffer[:n]...)
			w.mutex.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return w, other
}

// send writes data in pieces until the other end is closed.
func (w *wire) send(data []byte, piece int) {
	for len(data) > 0 {
		n, err := w.Write(data[:min(piece*piece, len(data))])
		if err != nil {
			return
		}
		data = data[n:]
	}
}

func (w *wire) received() []byte {
	<-w.ended
	return w.got
}

// checkRelayed checks the bytes that the server got after the preface: complete frames except
// for the last one, and contiguous header blocks that can be decoded.
func checkRelayed(t *testing.T, data []byte) {
	decoder := hpack.NewDecoder(1<<31, func(hpack.HeaderField) {})
	var open uint32
	for len(data) >= headerLength {
		h := parseHeader(data)
		if len(data) < headerLength+h.length {
			return
		}
		payload := data[headerLength : headerLength+h.length]
		data = data[headerLength+h.length:]
		if continues := h.kind == http2.FrameContinuation; continues != (open != 0) || continues && h.stream != open {
			t.Fatalf("%v frame of stream %d inside a header block of stream %d", h.kind, h.stream, open)
		}
		if h.kind != http2.FrameHeaders && h.kind != http2.FrameContinuation {
			continue
		}
		if h.flags.Has(http2.FlagHeadersPriority) && h.kind == http2.FrameHeaders {
			payload = payload[5:]
		}
		if _, err := decoder.Write(payload); err != nil {
			t.Fatalf("a header block of stream %d: %v", h.stream, err)
		}
		open = h.stream
		if h.flags.Has(http2.FlagHeadersEndHeaders) {
			open = 0
			if err := decoder.Close(); err != nil {
				t.Fatalf("a header block of stream %d: %v", h.stream, err)
			}
		}
	}
}

// recordCalls returns the bytes that a client and a server of grpc-go send in a few calls.
func recordCalls(f *testing.F) (client, server []byte) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		for {
			message := &emptypb.Empty{}
			if err := stream.RecvMsg(message); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
	}))
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	var up, down recording
	c, err := grpc.NewClient("passthrough:///recorded", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
			return &recorded{Conn: conn, up: &up, down: &down}, err
		}))
	if err != nil {
		f.Fatal(err)
	}
	for range 4 {
		message := &emptypb.Empty{}
		message.ProtoReflect().SetUnknown(append(binary.AppendUvarint([]byte{0x0a}, 100), make([]byte, 100)...))
		if err := c.Invoke(f.Context(), "/recorded.v1.Service/Method", message, message); err != nil {
			f.Fatal(err)
		}
	}
	_ = c.Close()
	s.Stop()
	if err := <-served; err != nil {
		f.Fatal(err)
	}
	return up.take(), down.take()
}

// recorded is a connection that records all bytes.
type recorded struct {
	net.Conn
	up, down *recording
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.down.add(b[:n])
	return n, err
}

func (r *recorded) Write(b []byte) (int, error) {
	r.up.add(b)
	return r.Conn.Write(b)
}

type recording struct {
	mutex sync.Mutex
	data  []byte
}

func (r *recording) add(b []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.data = append(r.data, b...)
}

func (r *recording) take() []byte {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.data
}
