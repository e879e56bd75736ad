package proxy

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"image-cri-shim/proxy/frames"
)

func TestParseTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0n": 0, "1n": 1, "5u": 5 * time.Microsecond, "10m": 10 * time.Millisecond, "99999999S": 99999999 * time.Second,
		"2M": 2 * time.Minute, "1H": time.Hour, "99999999H": math.MaxInt64, "00000001S": time.Second,
	} {
		if got, ok := parseTimeout(text); !ok || got != want {
			t.Errorf("%s is %v and %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1_0S", "100000000S", "1 S"} {
		if got, ok := parseTimeout(text); ok {
			t.Errorf("%q is %v, want none", text, got)
		}
	}
}

// A deadline is never given on shorter than it is, and longer by little.
func TestFormatTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0n", 0: "0n", 1: "1n", 99_999_999: "99999999n", 100_000_000: "100000u", 100_000_001: "100001u",
		2 * time.Minute: "120000m", 28 * time.Hour: "100800S", math.MaxInt64: "2562048H",
	} {
		got := formatTimeout(d)
		if back, ok := parseTimeout(got); got != want || !ok || back < d {
			t.Errorf("%v is %s, want %s; it comes back as %v", d, got, want, back)
		}
	}
}

// grpc-message comes back as it was, and is printable ASCII under way.
func FuzzMessageText(f *testing.F) {
	for _, text := range []string{"", "no such image", "100%", "%41", "%", "%4", "a\nb", "größer", "\x00\xff", "\U0001F600"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := encodeMessageText(text)
		for _, b := range []byte(encoded) {
			if b < ' ' || b > '~' {
				t.Fatalf("%q is %q", text, encoded)
			}
		}
		if got := decodeMessageText(encoded); utf8.ValidString(text) && got != text || !utf8.ValidString(got) {
			t.Errorf("%q comes back as %q from %q", text, got, encoded)
		}
		_ = decodeMessageText(text)
	})
}

// What is no percent-encoding stays.
func TestDecodeMessageText(t *testing.T) {
	for text, want := range map[string]string{"%": "%", "%4": "%4", "%zz%41": "%zzA", "%25%": "%%", "a%20b": "a b", "%+1": "%+1", "%e4%F6": "\xe4\xf6"} {
		if got := decodeMessageText(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// A status is the same after its way over the wire, with its details.
func TestStatusFields(t *testing.T) {
	detailed, err := status.New(codes.NotFound, "no such image: 100% ü").WithDetails(durationpb.New(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*status.Status{detailed, status.New(codes.Unknown, "plain"), status.New(codes.OK, ""), status.New(77, "of the future")} {
		got := statusOf(nil, statusFields(want.Err()))
		if s, _ := status.FromError(got); !proto.Equal(s.Proto(), want.Proto()) && want.Code() != codes.OK || (got == nil) != (want.Code() == codes.OK) {
			t.Errorf("%v comes back as %v", want, got)
		}
	}
}

// Details that are not of the same status, or nothing at all, are left out.
func TestStatusOfOddDetails(t *testing.T) {
	raw, err := proto.Marshal(status.New(codes.NotFound, "other").Proto())
	if err != nil {
		t.Fatal(err)
	}
	for _, details := range []string{"", "!", "AAAA", base64.StdEncoding.EncodeToString(raw), "////"} {
		err := statusOf(nil, []hpack.HeaderField{{Name: "grpc-status", Value: "9"}, {Name: "grpc-message", Value: "mine"}, {Name: "grpc-status-details-bin", Value: details}})
		if s, _ := status.FromError(err); s.Code() != codes.FailedPrecondition || s.Message() != "mine" || len(s.Details()) != 0 {
			t.Errorf("with the details %q: %v", details, err)
		}
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
		err := statusOf(nil, []hpack.HeaderField{{Name: "grpc-status", Value: "5"}, {Name: "grpc-status-details-bin", Value: encoding.EncodeToString(raw)}})
		if s, _ := status.FromError(err); s.Message() != "other" {
			t.Errorf("details: %v", err)
		}
	}
}

// An answer that is not gRPC's has the code that its HTTP status stands for.
func TestStatusOfHTTP(t *testing.T) {
	for text, want := range map[string]codes.Code{
		"200": codes.Internal, "400": codes.Internal, "401": codes.Unauthenticated, "403": codes.PermissionDenied, "404": codes.Unimplemented,
		"429": codes.Unavailable, "502": codes.Unavailable, "503": codes.Unavailable, "504": codes.Unavailable, "500": codes.Unknown, "": codes.Unknown,
	} {
		fields := []hpack.HeaderField{{Name: ":status", Value: text}}
		for _, err := range []error{statusOf(fields, nil), statusOf(nil, fields), statusOf(fields, []hpack.HeaderField{{Name: "grpc-status", Value: "five"}})} {
			if status.Code(err) != want {
				t.Errorf("the HTTP status %q is %v, want %v", text, err, want)
			}
		}
	}
}

// What is negotiated hop by hop is not passed to another call.
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
