package frames

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// testTimeout is the time limit of a step that should take no time.
const testTimeout = 10 * time.Second

// peer is one end of an HTTP/2 connection. A test sends and expects single frames with it.
type peer struct {
	t       *testing.T
	name    string
	conn    *net.UnixConn
	framer  *http2.Framer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
	block   bytes.Buffer

	ignoreAcks   bool // skip acknowledgements of SETTINGS
	ignoreCredit bool // skip WINDOW_UPDATE frames
}

func newPeer(t *testing.T, name string, conn *net.UnixConn) *peer {
	p := &peer{t: t, name: name, conn: conn, framer: http2.NewFramer(conn, conn), decoder: hpack.NewDecoder(defaultTableSize, nil)}
	p.encoder = hpack.NewEncoder(&p.block)
	p.framer.AllowIllegalWrites = true
	p.framer.SetMaxReadFrameSize(frameLimit)
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	return p
}

// check fails the test if sending failed.
func (p *peer) check(what string, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("the %s failed to send %s: %v", p.name, what, err)
	}
}

// send sends raw bytes.
func (p *peer) send(b []byte) {
	p.t.Helper()
	_, err := p.conn.Write(b)
	p.check("bytes", err)
}

// encode returns a header block of fields "name=value". A sensitive field is "!name=value".
func (p *peer) encode(fields ...string) []byte {
	p.block.Reset()
	for _, text := range fields {
		_ = p.encoder.WriteField(field(text))
	}
	return bytes.Clone(p.block.Bytes())
}

func field(text string) hpack.HeaderField {
	text, sensitive := strings.CutPrefix(text, "!")
	at := strings.Index(text[1:], "=") + 1
	return hpack.HeaderField{Name: text[:at], Value: text[at+1:], Sensitive: sensitive}
}

func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.t.Helper()
	p.check("HEADERS", p.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.encode(fields...), EndStream: end, EndHeaders: true,
	}))
}

// requestOf returns the fields of a request.
func requestOf(path string, more ...string) []string {
	return append([]string{":method=POST", ":path=" + path}, more...)
}

func (p *peer) request(id uint32, path string, end bool) {
	p.t.Helper()
	p.headers(id, end, requestOf(path)...)
}

func (p *peer) data(id uint32, end bool, data string) {
	p.t.Helper()
	p.check("DATA", p.framer.WriteData(id, end, []byte(data)))
}

func (p *peer) settings(settings ...http2.Setting) {
	p.t.Helper()
	p.check("SETTINGS", p.framer.WriteSettings(settings...))
}

func (p *peer) acknowledge() {
	p.t.Helper()
	p.check("SETTINGS", p.framer.WriteSettingsAck())
}

func (p *peer) windowUpdate(id, increment uint32) {
	p.t.Helper()
	p.check("WINDOW_UPDATE", p.framer.WriteWindowUpdate(id, increment))
}

func (p *peer) reset(id uint32, code http2.ErrCode) {
	p.t.Helper()
	p.check("RST_STREAM", p.framer.WriteRSTStream(id, code))
}

func (p *peer) goAway(last uint32) {
	p.t.Helper()
	p.check("GOAWAY", p.framer.WriteGoAway(last, http2.ErrCodeNo, nil))
}

func (p *peer) ping(text string, ack bool) {
	p.t.Helper()
	p.check("PING", p.framer.WritePing(ack, [8]byte([]byte(text))))
}

func (p *peer) next() (http2.Frame, error) {
	for {
		f, err := p.framer.ReadFrame()
		settings, isSettings := f.(*http2.SettingsFrame)
		_, isCredit := f.(*http2.WindowUpdateFrame)
		if (!p.ignoreAcks || !isSettings || !settings.IsAck()) && (!p.ignoreCredit || !isCredit) {
			return f, err
		}
	}
}

// read returns the next frame in the form of describe, or "end" at the end of the connection.
func (p *peer) read() string {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		if isDisconnect(err) {
			return "end"
		}
		p.t.Fatalf("the %s failed to read: %v", p.name, err)
	}
	text, err := p.describe(f)
	if err != nil {
		p.t.Fatalf("the %s failed to decode %v: %v", p.name, f.Header(), err)
	}
	return text
}

// isDisconnect reports whether the other side closed the connection. The error is ECONNRESET
// if that side had unread data.
func isDisconnect(err error) bool {
	var operation *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &operation) && !operation.Timeout()
}

// expect reads one frame for each line, and compares them in the form of describe.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, line := range want {
		if got := p.read(); got != line {
			p.t.Fatalf("the %s got\n\t%s\nwant\n\t%s", p.name, abridged(got), abridged(line))
		}
	}
}

func abridged(text string) string {
	if len(text) > 300 {
		return fmt.Sprintf("%s... (%d)", text[:300], len(text))
	}
	return text
}

// expectRequest expects the HEADERS frame that request sends.
func (p *peer) expectRequest(id uint32, path string, end bool) {
	p.t.Helper()
	p.expect(headersLine(id, end, requestOf(path)...))
}

func headersLine(id uint32, end bool, fields ...string) string {
	return strings.Join(append([]string{fmt.Sprintf("HEADERS %d%s", id, ending(end))}, fields...), " ")
}

func ending(end bool) string {
	if end {
		return " end"
	}
	return ""
}

func dataLine(id uint32, end bool, data string) string {
	return fmt.Sprintf("DATA %d%s %q", id, ending(end), data)
}

// expectData reads DATA of a stream, in frames of any size, until it has all of want.
func (p *peer) expectData(id uint32, end bool, want string) {
	p.t.Helper()
	for ended := false; want != "" || end && !ended; {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("the %s failed to read: %v, want %d more bytes", p.name, err, len(want))
		}
		data, ok := f.(*http2.DataFrame)
		if !ok || data.StreamID != id || !strings.HasPrefix(want, string(data.Data())) {
			p.t.Fatalf("the %s got %v, want %d bytes of DATA of stream %d", p.name, f.Header(), len(want), id)
		}
		want = want[len(data.Data()):]
		if ended = data.StreamEnded(); ended && (!end || want != "") {
			p.t.Fatalf("stream %d has ended, want %d more bytes", id, len(want))
		}
	}
}

// expectCredit reads WINDOW_UPDATE frames until each stream has got its credit in want. The
// credit of the connection may lack up to creditLimit bytes that the relay gives later.
func (p *peer) expectCredit(want map[uint32]int) {
	p.t.Helper()
	for {
		due := false
		for id, n := range want {
			due = due || id != 0 && n > 0 || n >= creditLimit
		}
		if !due {
			return
		}
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("the %s failed to read: %v, want credit of %v", p.name, err, want)
		}
		update, ok := f.(*http2.WindowUpdateFrame)
		if !ok || int(update.Increment) > want[update.StreamID] {
			p.t.Fatalf("the %s got %v, want credit of %v", p.name, f, want)
		}
		want[update.StreamID] -= int(update.Increment)
	}
}

// describe returns a frame as a line of text. A header block is one line for all its frames.
func (p *peer) describe(f http2.Frame) (string, error) {
	h := f.Header()
	id := h.StreamID
	switch f := f.(type) {
	case *http2.HeadersFrame:
		line := fmt.Sprintf("HEADERS %d%s", id, ending(f.StreamEnded()))
		if f.HasPriority() {
			line += fmt.Sprintf(" priority=%d/%d/%v", f.Priority.StreamDep, f.Priority.Weight, f.Priority.Exclusive)
		}
		return p.describeBlock(line, f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.PushPromiseFrame:
		return p.describeBlock(fmt.Sprintf("PUSH_PROMISE %d %d", id, f.PromiseID), f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.DataFrame:
		line := dataLine(id, f.StreamEnded(), string(f.Data()))
		if padding := int(f.Length) - len(f.Data()); padding > 0 {
			line += fmt.Sprintf(" padding=%d", padding-1)
		}
		return line, nil
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack", nil
		}
		line := "SETTINGS"
		_ = f.ForeachSetting(func(s http2.Setting) error {
			line += fmt.Sprintf(" %v=%d", s.ID, s.Val)
			return nil
		})
		return line, nil
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", id, f.Increment), nil
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %v", id, f.ErrCode), nil
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode), nil
	case *http2.PingFrame:
		if f.IsAck() {
			return fmt.Sprintf("PING ack %s", f.Data), nil
		}
		return fmt.Sprintf("PING %s", f.Data), nil
	case *http2.PriorityFrame:
		return fmt.Sprintf("PRIORITY %d %d/%d/%v", id, f.StreamDep, f.Weight, f.Exclusive), nil
	case *http2.UnknownFrame:
		return fmt.Sprintf("0x%x %d flags=%d %q", uint8(h.Type), id, h.Flags, f.Payload()), nil
	}
	return "", fmt.Errorf("unexpected frame type %v", h.Type)
}

func (p *peer) describeBlock(line string, fragment []byte, ended bool) (string, error) {
	block := bytes.Clone(fragment)
	for !ended {
		f, err := p.next()
		if err != nil {
			return "", err
		}
		continuation, ok := f.(*http2.ContinuationFrame)
		if !ok {
			return "", fmt.Errorf("%v inside a header block", f.Header())
		}
		block = append(block, continuation.HeaderBlockFragment()...)
		ended = continuation.HeadersEnded()
	}
	fields, err := p.decoder.DecodeFull(block)
	for _, f := range fields {
		line += " " + map[bool]string{true: "!"}[f.Sensitive] + f.Name + "=" + f.Value
	}
	return line, err
}

// frameOf returns a frame of any type as bytes.
func frameOf(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) []byte {
	h := header{length: len(payload), kind: kind, flags: flags, stream: stream}
	return append(h.append(nil), payload...)
}
