package frames

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// loadServer is an HTTP/2 server. It answers the body "N" with N bytes, within the client's
// windows, in frames of random size and padding.
type loadServer struct {
	t       *testing.T
	framer  *http2.Framer
	running sync.WaitGroup

	mutex   sync.Mutex
	changed *sync.Cond
	random  *rand.Rand
	encoder *hpack.Encoder
	block   bytes.Buffer
	initial int
	window  int            // window of the connection
	streams map[uint32]int // windows of the open streams
	ended   bool
}

func newLoadServer(t *testing.T, conn net.Conn, seed uint64) *loadServer {
	s := &loadServer{t: t, framer: http2.NewFramer(conn, conn), random: rand.New(rand.NewPCG(seed, 2)), initial: defaultWindow, window: defaultWindow, streams: map[uint32]int{}}
	s.changed = sync.NewCond(&s.mutex)
	s.encoder = hpack.NewEncoder(&s.block)
	s.framer.ReadMetaHeaders = hpack.NewDecoder(defaultTableSize, nil)
	s.running.Go(func() {
		if _, err := conn.Read(make([]byte, len(http2.ClientPreface))); err == nil {
			_ = s.framer.WriteSettings()
			s.run()
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.ended = true
		s.changed.Broadcast()
	})
	return s
}

func (s *loadServer) run() {
	for {
		f, err := s.framer.ReadFrame()
		if err != nil {
			return
		}
		s.mutex.Lock()
		s.frame(f)
		s.changed.Broadcast()
		s.mutex.Unlock()
	}
}

func (s *loadServer) frame(f http2.Frame) {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		if size, ok := f.Value(http2.SettingInitialWindowSize); ok {
			for id := range s.streams {
				s.streams[id] += int(size) - s.initial
			}
			s.initial = int(size)
		}
		_ = s.framer.WriteSettingsAck()
	case *http2.WindowUpdateFrame:
		if id == 0 {
			s.window += int(f.Increment)
		} else if _, open := s.streams[id]; open {
			s.streams[id] += int(f.Increment)
		}
	case *http2.PingFrame:
		_ = s.framer.WritePing(true, f.Data)
	case *http2.MetaHeadersFrame:
		s.streams[id] = s.initial
	case *http2.RSTStreamFrame:
		delete(s.streams, id)
	case *http2.DataFrame:
		var size int
		_, _ = fmt.Sscan(string(f.Data()), &size)
		s.running.Go(func() { s.answer(id, size) })
	}
}

func (s *loadServer) answer(id uint32, size int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.headers(id, false, ":status=200", "content-type=application/grpc")
	body := answerOf(id, size)
	for len(body) > 0 {
		n := s.take(id, len(body))
		if n == 0 {
			return
		}
		_ = s.framer.WriteData(id, false, []byte(body[:n]))
		body = body[n:]
	}
	switch s.random.IntN(3) {
	case 0:
		_ = s.framer.WriteData(id, true, nil)
	default:
		s.headers(id, true, "grpc-status=0")
	}
	delete(s.streams, id)
}

// answerOf returns the server's answer of a size on a stream.
func answerOf(id uint32, size int) string {
	return strings.Repeat(string(rune('a'+id%26)), size)
}

// take waits until the client's windows allow some bytes, and takes up to n of them. It
// returns the number, or 0 if the stream is closed.
func (s *loadServer) take(id uint32, n int) int {
	for !s.ended {
		window, open := s.streams[id]
		if !open {
			return 0
		}
		if n := min(n, window, s.window, 1+s.random.IntN(defaultMaxFrame)); n > 0 {
			s.window -= n
			s.streams[id] -= n
			return n
		}
		s.changed.Wait()
	}
	return 0
}

func (s *loadServer) headers(id uint32, end bool, fields ...string) {
	s.block.Reset()
	for _, text := range fields {
		_ = s.encoder.WriteField(field(text))
	}
	_ = s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: end})
}

// connectionWindow returns the window of the connection in the server's view.
func (s *loadServer) connectionWindow() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.window
}
