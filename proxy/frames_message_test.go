package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// bytesBody is a body that is completely available.
type bytesBody struct{ *bytes.Reader }

func (b bytesBody) Receive(_ context.Context, n int) ([]byte, error) {
	data := make([]byte, min(n, b.Len()))
	_, err := io.ReadFull(b, data)
	if err == nil && len(data) < n {
		err = io.ErrUnexpectedEOF
		if len(data) == 0 {
			err = io.EOF
		}
	}
	return data, err
}

func gzipped(t *testing.T, message []byte) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w, levelErr := gzip.NewWriterLevel(&compressed, gzip.BestSpeed) // some are large
	_, err := w.Write(message)
	if err := errors.Join(levelErr, err, w.Close()); err != nil {
		t.Fatal(err)
	}
	encoded := encodeMessage(compressed.Bytes())
	encoded[0] = 1
	return encoded
}

var gzipFields = []hpack.HeaderField{{Name: "grpc-encoding", Value: "gzip"}}

func TestReceiveMessage(t *testing.T) {
	all := append(encodeMessage([]byte("one")), encodeMessage(nil)...)
	from := bytesBody{bytes.NewReader(append(all, gzipped(t, []byte("three"))...))}
	for _, want := range []string{"one", "", "three"} {
		if got, err := receiveMessage(t.Context(), from, gzipFields); err != nil || string(got) != want {
			t.Errorf("got %q and error %v, want %q", got, err, want)
		}
	}
	if _, err := receiveMessage(t.Context(), from, gzipFields); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %v, want EOF", err)
	}
	for n := 1; n < len(encodeMessage([]byte("one"))); n++ {
		_, err := receiveMessage(t.Context(), bytesBody{bytes.NewReader(all[:n])}, nil)
		if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "inside a message") {
			t.Errorf("of %d bytes: %v, want Internal", n, err)
		}
	}
}

func TestDecodeOnly(t *testing.T) {
	whole := encodeMessage([]byte("message"))
	if got, err := decodeSingle(whole, nil); err != nil || string(got) != "message" {
		t.Errorf("got %q and error %v", got, err)
	}
	for _, body := range [][]byte{nil, whole[:4], whole[:len(whole)-1], append(bytes.Clone(whole), 0), {0, 0xff, 0xff, 0xff, 0xff}} {
		if _, err := decodeSingle(body, nil); status.Code(err) != codes.Internal {
			t.Errorf("%d bytes: %v, want Internal", len(body), err)
		}
	}
}

// A message that can't be decompressed, or becomes too large, is an error with a code.
func TestDecompress(t *testing.T) {
	bomb := gzipped(t, make([]byte, decompressedLimit+1))
	largest := gzipped(t, make([]byte, decompressedLimit))
	tests := map[string]struct {
		body   []byte
		fields []hpack.HeaderField
		want   codes.Code
	}{
		"largest":     {largest, gzipFields, codes.OK},
		"bomb":        {bomb, gzipFields, codes.ResourceExhausted},
		"no encoding": {bomb, nil, codes.Internal},
		"other flag":  {append([]byte{2}, largest[1:]...), gzipFields, codes.Internal},
		"no gzip":     {[]byte{1, 0, 0, 0, 3, 'a', 'b', 'c'}, gzipFields, codes.Internal},
		"cut off":     {append([]byte{1, 0, 0, 0, 100}, bomb[5:105]...), gzipFields, codes.Internal},
		"not encoded": {encodeMessage([]byte("plain")), gzipFields, codes.OK},
	}
	for name, test := range tests {
		if _, err := decodeSingle(test.body, test.fields); status.Code(err) != test.want {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	for encoding, want := range map[string]bool{"": true, "identity": true, "gzip": true, "snappy": false} {
		if got := canDecode([]hpack.HeaderField{{Name: "grpc-encoding", Value: encoding}}); got != want {
			t.Errorf("canDecode of %q is %v", encoding, got)
		}
	}
}
