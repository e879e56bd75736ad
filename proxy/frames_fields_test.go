package proxy

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"image-cri-shim/proxy/frames"
)

// Fields negotiated per hop are not passed to another call.
func TestRequestFields(t *testing.T) {
	of := []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":path", Value: "/a"}, {Name: "grpc-timeout", Value: "1S"}, {Name: "grpc-encoding", Value: "gzip"},
		{Name: "authorization", Value: "secret", Sensitive: true}, {Name: "x-b-bin", Value: "AAE"}, {Name: "content-length", Value: "9"},
	}
	got := requestFields(t.Context(), of, "/b")
	want := []hpack.HeaderField{of[0], {Name: ":path", Value: "/b"}, of[4], of[5]}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("the field %d is %v, want %v", i, got[i], want[i])
		}
	}
	if frames.Field(of, ":path") != "/a" {
		t.Error("the fields of the request have changed")
	}
	if kept := applicationFields(append(of, hpack.HeaderField{Name: "grpc-status", Value: "1"})); strings.HasPrefix(kept[0].Name, ":") || frames.Field(kept, "grpc-status") != "" {
		t.Errorf("the application's fields are %v", kept)
	}
}
