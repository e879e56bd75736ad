package frames

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// modelServer is a server that uses the freedom of RFC 9113: its windows, settings, padding
// and frame sizes are random, and so is the order of its frames. It answers with the body of
// the request. It fails the test if the client exceeds a window or the limit of streams.
type modelServer struct {
	t      *testing.T
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder

	mutex    sync.Mutex
	changed  *sync.Cond
	random   *rand.Rand
	failed   bool
	streams  map[uint32]*modelStream
	receive  int // window of the connection for requests
	send     int // window of the connection for answers
	applied  int // initial window of a request, of the last acknowledged SETTINGS
	answers  int // initial window of an answer
	unacked  []http2.Setting
	limit    int
	handlers sync.WaitGroup
}

type modelStream struct {
	body          []byte
	complete      bool
	reset         bool
	receive, send int
	owed          int // bytes of the request without credit yet
}

func (m *modelServer) run(conn net.Conn) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	for n := 0; n < len(preface); {
		read, err := conn.Read(preface[n:])
		if err != nil {
			return
		}
		n += read
	}
	m.mutex.Lock()
	m.set()
	m.mutex.Unlock()
	stop := make(chan struct{})
	var returning sync.WaitGroup
	returning.Go(func() { m.returnCredit(stop) })
	for {
		f, err := m.framer.ReadFrame()
		if err != nil {
			break
		}
		m.mutex.Lock()
		m.frame(f)
		m.changed.Broadcast()
		m.mutex.Unlock()
	}
	m.mutex.Lock()
	m.failed = true
	m.changed.Broadcast()
	m.mutex.Unlock()
	close(stop)
	returning.Wait()
	m.handlers.Wait()
}

// set sends random SETTINGS. The caller holds the mutex.
func (m *modelServer) set() {
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: []uint32{1, 255, 16383, defaultWindow, 1 << 20}[m.random.IntN(5)]},
		{ID: http2.SettingMaxConcurrentStreams, Val: uint32(m.limit)},
		{ID: http2.SettingHeaderTableSize, Val: []uint32{0, 64, defaultTableSize, 2 * defaultTableSize}[m.random.IntN(4)]},
		{ID: http2.SettingMaxFrameSize, Val: uint32(defaultMaxFrame + m.random.IntN(2)*10_000)},
	}
	m.unacked = append(m.unacked, settings[0])
	_ = m.framer.WriteSettings(settings...)
}

// frame handles a frame. The caller holds the mutex.
func (m *modelServer) frame(f http2.Frame) {
	id := f.Header().StreamID
	s := m.streams[id]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			// The windows of streams change when the client has applied the setting.
			now := int(m.unacked[0].Val)
			m.unacked = m.unacked[1:]
			for _, s := range m.streams {
				s.receive += now - m.applied
			}
			m.applied = now
			return
		}
		_ = f.ForeachSetting(func(setting http2.Setting) error {
			if setting.ID == http2.SettingInitialWindowSize {
				m.answers = int(setting.Val)
			}
			return nil
		})
		_ = m.framer.WriteSettingsAck()
	case *http2.MetaHeadersFrame:
		if len(m.streams) >= m.limit {
			m.t.Errorf("request %d exceeds the limit of %d streams", id, m.limit)
		}
		s = &modelStream{receive: m.applied, send: m.answers, complete: f.StreamEnded()}
		m.streams[id] = s
		m.handlers.Go(func() { m.answer(id, s) })
	case *http2.DataFrame:
		m.receive -= int(f.Length)
		if m.receive < 0 {
			m.t.Errorf("DATA exceeds the window of the connection by %d", -m.receive)
		}
		if s == nil || s.reset {
			return
		}
		if s.receive -= int(f.Length); s.receive < 0 && f.Length > 0 {
			m.t.Errorf("DATA exceeds the window of request %d by %d", id, -s.receive)
		}
		s.owed += int(f.Length)
		s.body = append(s.body, f.Data()...)
		s.complete = f.StreamEnded()
	case *http2.WindowUpdateFrame:
		if id == 0 {
			m.send += int(f.Increment)
		} else if s != nil {
			s.send += int(f.Increment)
		}
	case *http2.RSTStreamFrame:
		if s != nil {
			s.reset = true
			delete(m.streams, id)
		}
	}
}

// returnCredit gives the client credit in random pieces, and sometimes sends new SETTINGS.
func (m *modelServer) returnCredit(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Microsecond):
		}
		m.mutex.Lock()
		if due := defaultWindow - m.receive; due > 0 {
			n := 1 + m.random.IntN(due)
			m.receive += n
			_ = m.framer.WriteWindowUpdate(0, uint32(n))
		}
		for id, s := range m.streams {
			if s.owed > 0 && !s.complete {
				n := 1 + m.random.IntN(s.owed)
				s.owed -= n
				s.receive += n
				_ = m.framer.WriteWindowUpdate(id, uint32(n))
			}
		}
		if m.random.IntN(20) == 0 && len(m.unacked) == 0 {
			m.set()
		}
		m.mutex.Unlock()
	}
}

// answer answers with the body of the request.
func (m *modelServer) answer(id uint32, s *modelStream) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	defer delete(m.streams, id)
	wait := func(condition func() bool) bool {
		for !condition() && !s.reset && !m.failed {
			m.changed.Wait()
		}
		return !s.reset && !m.failed
	}
	if !wait(func() bool { return s.complete }) {
		return
	}
	if m.random.IntN(3) == 0 {
		m.headers(id, false, hpack.HeaderField{Name: ":status", Value: "103"})
	}
	m.headers(id, false, hpack.HeaderField{Name: ":status", Value: "200"})
	for body := s.body; len(body) > 0; {
		padding := m.random.IntN(2) * m.random.IntN(256)
		if !wait(func() bool { return min(m.send, s.send) > padding+1 }) {
			return
		}
		n := min(1+m.random.IntN(defaultMaxFrame-300), len(body), m.send-padding-1, s.send-padding-1)
		_ = m.framer.WriteDataPadded(id, false, body[:n], make([]byte, padding))
		length := n + padding + 1 // the Pad Length field counts even without padding
		m.send -= length
		s.send -= length
		body = body[n:]
	}
	if m.random.IntN(2) == 0 {
		_ = m.framer.WriteData(id, true, nil)
	} else {
		m.headers(id, true, hpack.HeaderField{Name: "grpc-status", Value: "0"})
	}
}

func (m *modelServer) headers(id uint32, end bool, field hpack.HeaderField) {
	m.block.Reset()
	_ = m.fields.WriteField(field)
	_ = m.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: m.block.Bytes(), EndStream: end, EndHeaders: true})
}

// TestClientProgress sends requests of all sizes to a model server. Each request ends. If it
// was not cancelled, its answer has its own body. At the end, the windows of idle connections
// are back to their initial sizes.
func TestClientProgress(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			var mutex sync.Mutex
			var models []*modelServer
			var running sync.WaitGroup
			limit := 1 + random.IntN(8)
			client := NewClient(func(context.Context) (net.Conn, error) {
				one, other := socketPair(t)
				mutex.Lock()
				defer mutex.Unlock()
				m := newModelServer(t, other, rand.New(rand.NewPCG(seed, uint64(1+len(models)))), limit)
				models = append(models, m)
				running.Go(func() { m.run(other) })
				return one, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			var requests sync.WaitGroup
			for i := range 60 {
				mine := rand.New(rand.NewPCG(seed, uint64(1000+i)))
				requests.Go(func() {
					if err := modelRequest(ctx, client, mine); err != nil {
						t.Errorf("request %d: %v", i, err)
					}
				})
			}
			requests.Wait()
			client.mutex.Lock()
			idle := client.connections
			client.mutex.Unlock()
			for _, connection := range idle {
				eventually(t, "full windows of the client", func() bool {
					connection.mutex.Lock()
					defer connection.mutex.Unlock()
					return connection.failure != nil || len(connection.answers)+connection.reserved == 0 && connection.window.available() == defaultWindow
				})
			}
			eventually(t, "full windows of the servers", func() bool {
				for _, m := range models {
					m.mutex.Lock()
					done := m.failed || m.send > connectionWindow/2 && len(m.streams) == 0
					m.mutex.Unlock()
					if !done {
						return false
					}
				}
				return true
			})
			_ = client.Close()
			running.Wait()
		})
	}
}

func newModelServer(t *testing.T, conn net.Conn, random *rand.Rand, limit int) *modelServer {
	m := &modelServer{
		t: t, framer: http2.NewFramer(conn, conn), random: random, streams: map[uint32]*modelStream{}, limit: limit,
		receive: defaultWindow, send: defaultWindow, applied: defaultWindow, answers: defaultWindow,
	}
	m.changed = sync.NewCond(&m.mutex)
	m.fields = hpack.NewEncoder(&m.block)
	m.framer.ReadMetaHeaders = hpack.NewDecoder(2*defaultTableSize, nil)
	m.framer.AllowIllegalWrites = true
	return m
}

// modelRequest sends a request with a random body, and checks the answer. Some requests are
// cancelled, and some answers are read as a stream.
func modelRequest(ctx context.Context, client *Client, random *rand.Rand) error {
	size := []int{0, 1, 300, 20_000, 200_000}[random.IntN(5)]
	body := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.BigEndian.PutUint64(body[i:], random.Uint64())
	}
	request := request("/model", string(body))
	request.Stream = random.IntN(2) == 0
	given := ctx
	if random.IntN(5) == 0 {
		var cancel context.CancelFunc
		given, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(20))*time.Millisecond)
		defer cancel()
	}
	got, err := modelAnswer(given, client, request, size)
	switch {
	case ctx.Err() != nil:
		return errors.New("the request did not end in time")
	case err != nil && given.Err() != nil:
		return nil // cancelled
	case err != nil:
		return err
	case !bytes.Equal(got, body):
		return fmt.Errorf("the answer has %d bytes, want the %d bytes of the request", len(got), size)
	}
	return nil
}

func modelAnswer(ctx context.Context, client *Client, request Request, size int) ([]byte, error) {
	answer, err := client.Do(ctx, request)
	if err != nil {
		return nil, err
	}
	if !request.Stream {
		_, _, body, err := answer.All(ctx)
		return body, err
	}
	defer answer.Cancel()
	if _, err := answer.Header(ctx); err != nil {
		return nil, err
	}
	return answer.Receive(ctx, size)
}
