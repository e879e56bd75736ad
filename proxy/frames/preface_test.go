package frames

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A connection that does not begin with the HTTP/2 preface is relayed unchanged. Its two
// directions are closed independently.
func TestRaw(t *testing.T) {
	for _, request := range []string{"GET /info HTTP/1.1\r\nHost: crio\r\n\r\n", "PRI * HTTP/2.1\r\n\r\n", "P", "\x00", http2.ClientPreface[:23] + "!"} {
		t.Run(fmt.Sprintf("%.8q", request), func(t *testing.T) {
			r := newFixture(t, nil)
			r.client.send([]byte(request))
			if request == "P" { // also the beginning of the HTTP/2 preface
				r.client.send([]byte("OST"))
				request = "POST"
			}
			if err := r.client.conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r.server.conn); err != nil || string(got) != request {
				t.Errorf("the server got %q and error %v", got, err)
			}
			answer := strings.Repeat("answer", 100_000)
			go func() {
				_, _ = io.WriteString(r.server.conn, answer)
				_ = r.server.conn.CloseWrite()
			}()
			if got, err := io.ReadAll(r.client.conn); err != nil || string(got) != answer {
				t.Errorf("the client got %d bytes and error %v", len(got), err)
			}
			_ = r.waitEnd()
		})
	}
}

// A raw connection ends when either side closes it.
func TestRawEnds(t *testing.T) {
	for name, choose := range map[string]func(*fixture) (closing, other *peer){
		"client": func(r *fixture) (*peer, *peer) { return r.client, r.server },
		"server": func(r *fixture) (*peer, *peer) { return r.server, r.client },
	} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, nil)
			r.client.send([]byte("hello"))
			if _, err := io.ReadFull(r.server.conn, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			closing, other := choose(r)
			_ = closing.conn.Close()
			_, _ = io.Copy(io.Discard, other.conn)
			_ = other.conn.Close()
			_ = r.waitEnd()
		})
	}
}

// The preface does not need a large buffer, even if it arrives in single bytes.
func TestSlowPreface(t *testing.T) {
	one, other := socketPair(t)
	relay := NewRelay(one, other, nil)
	defer relay.Close()
	up := newClientToServer(relay)
	up.reader.from = &cut{reader: strings.NewReader(http2.ClientPreface + "rest"), sizes: []int{1}}
	if _, err := up.preface(); err != nil {
		t.Fatal(err)
	}
	if len(up.reader.buffer) > bufferMin {
		t.Errorf("the buffer is %d bytes", len(up.reader.buffer))
	}
}

// cut is a reader that limits its reads to the given sizes, in turn.
type cut struct {
	reader io.Reader
	sizes  []int
}

func (c *cut) Read(b []byte) (int, error) {
	size := c.sizes[0]
	c.sizes = append(c.sizes[1:], size)
	return c.reader.Read(b[:min(size, len(b))])
}

type cutConn struct {
	net.Conn
	cut *cut
}

func (c *cutConn) Read(b []byte) (int, error) { return c.cut.Read(b) }

// The relay forwards the same frames wherever the bytes of the two connections are split.
func TestCutAnywhere(t *testing.T) {
	client, server := script(t)
	whole := transcript(t, client, server, []int{1 << 20}, []int{1 << 20})
	for _, part := range []string{"priority=0/3/false :method=POST", "onemore of one end", "answermore of it", "intercepted"} {
		if !strings.Contains(strings.Join(whole, ""), part) {
			t.Fatalf("the exchange is %q, without %q", whole, part)
		}
	}
	same := func(client0, server0 []int) {
		t.Helper()
		if got := transcript(t, client, server, client0, server0); !slices.Equal(got, whole) {
			t.Fatalf("cut into %v and %v:\n%q\nwant\n%q", client0, server0, got, whole)
		}
	}
	same([]int{1}, []int{1})
	same([]int{2, 7, 3}, []int{5, 1, 11})
	for at := 1; at < len(client); at++ {
		same([]int{at, len(client)}, []int{len(server)})
	}
	for at := 1; at < len(server); at++ {
		same([]int{len(client)}, []int{at, len(server)})
	}
}

// script returns the bytes that a client and a server send. They contain all kinds of frames.
func script(t *testing.T) (client, server []byte) {
	record := func(write func(*peer)) []byte {
		one, other := socketPair(t)
		p := newPeer(t, "script", one)
		write(p)
		_ = one.Close()
		recorded, err := io.ReadAll(other)
		_ = other.Close()
		if err != nil {
			t.Fatal(err)
		}
		return recorded
	}
	client = record(func(p *peer) {
		p.send([]byte(http2.ClientPreface))
		p.settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 20_000})
		block := p.encode(requestOf("/relayed", "a=b")...)
		p.check("HEADERS", p.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 1, BlockFragment: block[:4], Priority: http2.PriorityParam{Weight: 3}, PadLength: 2,
		}))
		p.check("CONTINUATION", p.framer.WriteContinuation(1, true, block[4:]))
		p.request(3, "/intercepted", false)
		p.check("DATA", p.framer.WriteDataPadded(1, false, []byte("one"), make([]byte, 3)))
		p.data(3, false, "three")
		p.ping("12345678", false)
		p.windowUpdate(0, 1000)
		p.data(3, true, "")
		p.data(1, true, "more of one")
	})
	server = record(func(p *peer) {
		p.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
		p.acknowledge()
		block := p.encode(":status=200", "a=b")
		p.check("HEADERS", p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1]}))
		p.check("CONTINUATION", p.framer.WriteContinuation(1, true, block[1:]))
		p.check("DATA", p.framer.WriteDataPadded(1, false, []byte("answer"), make([]byte, 3)))
		p.data(1, false, "more of it")
		p.ping("12345678", true)
		p.headers(1, true, "grpc-status=0", "a=b")
	})
	return client, server
}

// transcript relays the bytes of script in pieces of the given sizes. It returns the frames
// that both sides get, in the form of streams.
func transcript(t *testing.T, client, server []byte, clientSizes, serverSizes []int) []string {
	clientEnd, clientSide := socketPair(t)
	serverSide, serverEnd := socketPair(t)
	answered := make(chan struct{})
	relay := NewRelay(
		&cutConn{clientSide, &cut{clientSide, clientSizes}},
		&cutConn{serverSide, &cut{serverSide, serverSizes}},
		func(fields []hpack.HeaderField) Plan {
			if Field(fields, ":path") != "/intercepted" {
				return Plan{}
			}
			return Plan{Handler: func(ctx context.Context, x *Exchange) {
				defer close(answered)
				answerWith("intercepted")(ctx, x)
			}}
		})
	ran := make(chan error, 1)
	go func() { ran <- relay.Run() }()
	defer func() {
		_, _ = clientEnd.Close(), serverEnd.Close()
		relay.Close()
		_ = await(t, "the return of Run", ran)
	}()
	c, s := newPeer(t, "client", clientEnd), newPeer(t, "server", serverEnd)
	s.send(server[:len(server)/2]) // the intercepted answer is written after this part
	c.send(client)
	await(t, "the intercepted answer", answered)
	s.send(server[len(server)/2:])
	s.readPreface()
	return append(s.streams(), c.streams()...)
}

// streams reads frames until stream 1 has ended. It returns the frames of each stream as text,
// with adjacent DATA joined, and the sum of the credit for the connection.
func (p *peer) streams() []string {
	p.t.Helper()
	lines, credit := map[uint32]string{}, uint32(0)
	for ended := false; !ended; {
		f, err := p.framer.ReadFrame()
		if err != nil {
			p.t.Fatalf("the %s failed to read: %v", p.name, err)
		}
		h := f.Header()
		ended = h.StreamID == 1 && h.Flags.Has(http2.FlagDataEndStream)
		switch f := f.(type) {
		case *http2.DataFrame:
			lines[h.StreamID] += string(f.Data()) + ending(f.StreamEnded())
		case *http2.WindowUpdateFrame:
			if h.StreamID == 0 { // credit of a stream may arrive after its end
				credit += f.Increment
			}
		default:
			line, err := p.describe(f)
			if err != nil {
				p.t.Fatalf("the %s failed to decode %v: %v", p.name, h, err)
			}
			lines[h.StreamID] += "\n" + line + "\n"
		}
	}
	return []string{lines[0], lines[1], lines[3], fmt.Sprint(credit)}
}
