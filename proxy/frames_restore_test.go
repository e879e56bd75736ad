package proxy

import (
	"context"
	"testing"

	"golang.org/x/net/http2/hpack"

	"image-cri-shim/proxy/frames"
	"image-cri-shim/proxy/intercept"
)

func TestKnownEncodings(t *testing.T) {
	for list, want := range map[string]string{
		"":                         "",
		"identity":                 "identity",
		"identity, deflate, gzip":  "identity,deflate,gzip",
		"zstd,gzip,snappy":         "gzip",
		"zstd":                     "",
		" gzip ,, x-unknown":       "gzip",
		"identity;q=1, gzip;q=0.5": "",
	} {
		if got := knownEncodings(list); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
	fields := decodable([]hpack.HeaderField{{Name: ":path", Value: "/a"}, {Name: "grpc-accept-encoding", Value: "zstd"}})
	if len(fields) != 1 || fields[0].Name != ":path" {
		t.Errorf("an empty list is sent: %v", fields)
	}
}

// An answer in an encoding that was not offered is an error, so that names that should be
// changed do not reach the client.
func TestUnreadableAnswer(t *testing.T) {
	restorer := answerRestorer{restore: func(context.Context, []byte, intercept.Invoke) []byte {
		t.Error("it was restored")
		return nil
	}}
	header := []hpack.HeaderField{{Name: "grpc-encoding", Value: "zstd"}}
	restored, err := restorer.answer(t.Context(), frames.Answered{Header: header, Body: []byte("\x01\x00\x00\x00\x01x")}, false)
	if code := frames.Field(restored.Trailer, "grpc-status"); err != nil || len(restored.Body) > 0 || code != "13" {
		t.Errorf("got %q, %v, %v", restored.Body, restored.Trailer, err)
	}
}
