package frames

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// A header block with a 1xx status is not the first block of the answer (RFC 9110, 15.2).
func TestClientSkipsInformationalHeaders(t *testing.T) {
	r := newClientFixture(t)
	result := r.do(t.Context(), "/informed", "")
	s := r.server()
	s.expectRequest(1, "/informed", true)
	s.headers(1, false, ":status=100")
	s.headers(1, false, ":status=103", "link=</style.css>")
	s.headers(1, false, ":status=200", "final=yes")
	s.data(1, false, "body")
	s.headers(1, true, "grpc-status=0")
	a := await(t, "the answer", result)
	if a.err != nil || Field(a.header, ":status") != "200" || Field(a.header, "final") != "yes" || Field(a.header, "link") != "" || string(a.body) != "body" {
		t.Errorf("the answer is %+v", a)
	}
}

// An answer can end with DATA instead of a header block.
func TestClientAnswerWithoutTrailer(t *testing.T) {
	for _, body := range []string{"", "body"} {
		r := newClientFixture(t)
		result := r.do(t.Context(), "/bare", "")
		s := r.server()
		s.expectRequest(1, "/bare", true)
		s.headers(1, false, ":status=200")
		s.data(1, false, body)
		s.data(1, true, "")
		a := await(t, "the answer", result)
		if a.err != nil || Field(a.header, ":status") != "200" || len(a.trailer) != 0 || string(a.body) != body {
			t.Errorf("the answer is %+v", a)
		}
	}
}

// The client gives credit for padding, too, even if Receive waits for more bytes than the
// window has.
func TestClientCreditsPadding(t *testing.T) {
	r := newClientFixture(t)
	stream := request("/padded", "")
	stream.Stream = true
	const frames = 2 * connectionWindow / 256
	received := make(chan error, 1)
	go func() {
		answer, err := r.client.Do(t.Context(), stream)
		if err == nil {
			_, err = answer.Receive(t.Context(), frames)
		}
		received <- err
	}()
	s := r.server()
	s.expectRequest(1, "/padded", true)
	s.headers(1, false, ":status=200")
	windows := map[uint32]int{0: connectionWindow, 1: receiveWindow}
	for range frames {
		for windows[0] < 257 || windows[1] < 257 {
			f, err := s.next()
			if err != nil {
				t.Fatalf("windows %v: %v", windows, err)
			}
			if update, ok := f.(*http2.WindowUpdateFrame); ok {
				windows[update.StreamID] += int(update.Increment)
			}
		}
		s.check("DATA", s.framer.WriteDataPadded(1, false, []byte("x"), make([]byte, 255)))
		windows[0] -= 257
		windows[1] -= 257
	}
	s.headers(1, true, "grpc-status=0")
	if err := await(t, "the end of the body", received); err != nil {
		t.Error(err)
	}
}

// The connection gets credit for DATA of a cancelled answer: for DATA that was not read, and
// for DATA that arrives after the reset.
func TestClientCreditsCancelledAnswers(t *testing.T) {
	r := newClientFixture(t)
	var s *peer
	piece := strings.Repeat("x", defaultMaxFrame)
	sent := 0
	for id := uint32(1); sent < connectionWindow; id += 2 {
		stream := request("/cancelled", "")
		stream.Stream = true
		answers := make(chan *Answer, 1)
		go func() {
			answer, _ := r.client.Do(t.Context(), stream)
			answers <- answer
		}()
		if s == nil {
			s = r.server()
		}
		s.expectRequest(id, "/cancelled", true)
		s.headers(id, false, ":status=200")
		answer := await(t, "the beginning of the answer", answers)
		for range receiveWindow / defaultMaxFrame / 2 {
			s.data(id, false, piece)
			sent += len(piece)
		}
		s.syncClient()
		answer.Cancel()
		for range receiveWindow / defaultMaxFrame / 2 { // before the server reads the reset
			s.data(id, false, piece)
			sent += len(piece)
		}
		s.expect(fmt.Sprintf("RST_STREAM %d CANCEL", id))
		if sent%(connectionWindow/2) == 0 {
			s.expect(fmt.Sprintf("WINDOW_UPDATE 0 %d", connectionWindow/2))
		}
	}
}

// A header block begins with an update to the smallest table size that the server has set
// since the last block (RFC 7541, 4.2).
func TestClientAnnouncesTableSize(t *testing.T) {
	r := newClientFixture(t)
	var s *peer
	sizes := []struct {
		settings []uint32
		update   byte // first byte of the block if it is a size update; 0 for no update
	}{
		{nil, 0},
		{[]uint32{0, defaultTableSize}, 0x20},
		{nil, 0},
		{[]uint32{defaultTableSize, 0}, 0}, // the encoder does not enlarge its table
		{[]uint32{2 * defaultTableSize}, 0},
	}
	for i, test := range sizes {
		if s != nil {
			for _, size := range test.settings {
				s.settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
			}
			s.syncClient()
		}
		result := r.do(t.Context(), "/table", "")
		if s == nil {
			s = r.server()
		}
		f, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		block := f.(*http2.HeadersFrame).HeaderBlockFragment()
		update := byte(0)
		if block[0]&0xe0 == 0x20 {
			update = block[0]
		}
		if update != test.update {
			t.Errorf("%d: the block begins with %#x, want the update %#x", i, block[0], test.update)
		}
		if fields, err := s.decoder.DecodeFull(block); err != nil || Field(fields, ":path") != "/table" {
			t.Errorf("%d: the block is %v, %v", i, fields, err)
		}
		s.answer(f.Header().StreamID, "ok")
		r.expectAll(result, "ok")
	}
}

// A body is sent completely, whatever the size of the windows.
func TestClientTinyWindows(t *testing.T) {
	for _, window := range []int{1, 255, 16383, defaultWindow} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			r := newClientFixture(t)
			first := r.do(t.Context(), "/first", "")
			s := r.server(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(window)})
			s.expectRequest(1, "/first", true)
			s.syncClient() // the client has applied the window
			s.answer(1, "first")
			r.expectAll(first, "first")
			body := strings.Repeat("0123456789", 20_000)[:min(200_000, 500*window)]
			s.windowUpdate(0, uint32(len(body)))
			result := r.do(t.Context(), "/tiny", body)
			s.expectRequest(3, "/tiny", false)
			s.receiveIn(3, body, window)
			s.answer(3, "ok")
			r.expectAll(result, "ok")
		})
	}
}

// receiveIn reads a body and checks that it keeps to a window. It grants a new window when
// the last one is used up.
func (p *peer) receiveIn(id uint32, want string, window int) {
	p.t.Helper()
	var got strings.Builder
	for left := window; ; {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
		data, ok := f.(*http2.DataFrame)
		if !ok {
			p.t.Fatalf("got %v after %d bytes", f.Header(), got.Len())
		}
		got.Write(data.Data())
		if left -= len(data.Data()); left < 0 {
			p.t.Fatalf("the client exceeded the window of %d by %d", window, -left)
		}
		if data.StreamEnded() {
			break
		}
		if left == 0 {
			p.windowUpdate(id, uint32(window))
			left = window
		}
	}
	if got.String() != want {
		p.t.Errorf("the server got %d bytes, want %d", got.Len(), len(want))
	}
}
