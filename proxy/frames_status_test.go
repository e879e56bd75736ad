package proxy

import (
	"encoding/base64"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// grpc-message is encoded as printable ASCII and decoded to the original text.
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

// Text that is not percent-encoding stays unchanged.
func TestDecodeMessageText(t *testing.T) {
	for text, want := range map[string]string{"%": "%", "%4": "%4", "%zz%41": "%zzA", "%25%": "%%", "a%20b": "a b", "%+1": "%+1", "%e4%F6": "\xe4\xf6"} {
		if got := decodeMessageText(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// A status survives the encoding on the wire, including its details.
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

// Details of another status and malformed details are ignored.
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

// An answer without gRPC has the code to which its HTTP status maps.
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
