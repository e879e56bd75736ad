package frames

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// readAll returns the frames that a reader returns for data. Pieces of DATA are joined.
func readAll(t *testing.T, r *reader) (frames []header, payloads []string) {
	t.Helper()
	for {
		err := r.fill()
		if err == io.EOF {
			return frames, payloads
		}
		if err != nil {
			t.Fatal(err)
		}
		for {
			f, ok, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if last := len(frames) - 1; f.kind == http2.FrameData && last >= 0 && frames[last].stream == f.stream && !frames[last].flags.Has(http2.FlagDataEndStream) {
				frames[last].length += f.length
				frames[last].flags |= f.flags
				payloads[last] += string(f.payload())
				continue
			}
			frames, payloads = append(frames, f.header), append(payloads, string(f.payload()))
		}
	}
}

// The reader returns the frames that were sent, whatever the sizes of the reads.
func TestReader(t *testing.T) {
	big := strings.Repeat("0123456789", 600)
	var sent []byte
	want := []string{"", "short", big, big[:5000], ""}
	for i, kind := range []http2.FrameType{http2.FrameSettings, http2.FrameHeaders, http2.FrameData, 0xfa, http2.FrameData} {
		sent = append(sent, frameOf(kind, http2.FlagDataEndStream, uint32(i), want[i])...)
	}
	for name, from := range map[string]io.Reader{
		"at once":      bytes.NewReader(sent),
		"by the byte":  iotest.OneByteReader(bytes.NewReader(sent)),
		"by halves":    iotest.HalfReader(bytes.NewReader(sent)),
		"with its end": iotest.DataErrReader(bytes.NewReader(sent)),
	} {
		frames, payloads := readAll(t, &reader{from: from})
		if len(frames) != len(want) {
			t.Fatalf("%s: got %d frames", name, len(frames))
		}
		for i, payload := range payloads {
			if payload != want[i] || frames[i].length != len(want[i]) || frames[i].stream != uint32(i) || !frames[i].flags.Has(http2.FlagDataEndStream) {
				t.Errorf("%s: frame %d is %+v with %d bytes", name, i, frames[i], len(payload))
			}
		}
	}
}

// The buffer stays within its bounds for DATA without padding. Other frames need a buffer of
// their own length. It shrinks again after many small reads.
func TestReaderBuffer(t *testing.T) {
	source := new(bytes.Buffer)
	r := &reader{from: source}
	size := func(data []byte) int {
		t.Helper()
		source.Write(data)
		for source.Len() > 0 {
			if err := r.fill(); err != nil {
				t.Fatal(err)
			}
			for {
				_, ok, err := r.next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
			}
		}
		return len(r.buffer)
	}
	large := strings.Repeat("x", 2<<20)
	if got := size(frameOf(http2.FrameData, 0, 1, large)); got != bufferMax {
		t.Errorf("the buffer is %d bytes after large reads, want %d", got, bufferMax)
	}
	ping := frameOf(http2.FramePing, 0, 0, "12345678")
	for range smallReadLimit + 2 {
		size(ping)
	}
	if got := size(ping); got != bufferMin {
		t.Errorf("the buffer is %d bytes after many small reads, want %d", got, bufferMin)
	}
	if got := size(frameOf(0xfa, 0, 0, large[:frameLimit])); got < frameLimit || got > frameLimit+2*headerLength {
		t.Errorf("the buffer is %d bytes for a frame of %d", got, frameLimit)
	}
	for range smallReadLimit + 2 {
		size(ping)
	}
	if got := len(r.buffer); got != bufferMin {
		t.Errorf("the buffer is %d bytes after a large frame and many small reads, want %d", got, bufferMin)
	}
}

// Literals of the relay are decoded to the same fields, and do not change the receiver's
// dynamic table.
func TestAppendFields(t *testing.T) {
	var fields []hpack.HeaderField
	for _, n := range []int{0, 1, 126, 127, 128, 254, 255, 256, 16_509, 16_510, 16_511, 1 << 20} {
		fields = append(fields, hpack.HeaderField{Name: "a", Value: strings.Repeat("v", n), Sensitive: true})
	}
	fields = append(fields, hpack.HeaderField{Name: strings.Repeat("n", 300), Value: "\x00\xff", Sensitive: true},
		hpack.HeaderField{Name: ":status", Value: "404", Sensitive: true})
	block := appendLiterals([]byte{}, append([]hpack.HeaderField{{Name: ":status", Value: "200"}}, fields...))
	decoder := hpack.NewDecoder(0, nil)
	got, err := decoder.DecodeFull(block)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(fields)+1 || got[0] != (hpack.HeaderField{Name: ":status", Value: "200"}) {
		t.Fatalf("%d fields, the first one %v", len(got), got[0])
	}
	for i, field := range fields {
		if got[i+1] != field {
			t.Errorf("field %d is %.40q", i, got[i+1].Value)
		}
	}
	if _, err := decoder.DecodeFull([]byte{0xbe}); err == nil {
		t.Error("the dynamic table has an entry")
	}
}

// The table of an encoder never grows again after it has been reduced, and a decoder can follow
// its blocks.
func TestEncoderTable(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	fields := []hpack.HeaderField{{Name: "a", Value: "b"}, {Name: "secret", Value: "s", Sensitive: true}}
	for _, allowed := range []uint32{4096, 8192, 100, 0, 4096} {
		for range 2 {
			got, err := d.decode(e.encode(nil, fields, allowed), min(allowed, defaultTableSize))
			if err != nil || len(got) != 2 || got[0] != fields[0] || got[1] != fields[1] {
				t.Fatalf("with a table of %d: %v, %v", allowed, got, err)
			}
		}
	}
	if e.table != 0 {
		t.Errorf("the table size is %d, want 0", e.table)
	}
}
