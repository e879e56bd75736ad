package proxy

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"image-cri-shim/proxy/frames"
)

// The header fields of gRPC: "gRPC over HTTP2" (PROTOCOL-HTTP2.md in grpc/grpc).

// requestFields are the client's for another call on its behalf.
func requestFields(ctx context.Context, of []hpack.HeaderField, method string) []hpack.HeaderField {
	fields := make([]hpack.HeaderField, 0, len(of)+1)
	for _, field := range of {
		switch field.Name {
		case "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "content-length":
			continue // negotiated hop by hop, or no longer so
		case ":path":
			field.Value = method
		}
		fields = append(fields, field)
	}
	if deadline, set := ctx.Deadline(); set {
		fields = append(fields, hpack.HeaderField{Name: "grpc-timeout", Value: formatTimeout(time.Until(deadline))})
	}
	return fields
}

// applicationFields are those that are the application's; nil only where there are no
// fields at all.
func applicationFields(fields []hpack.HeaderField) []hpack.HeaderField {
	if len(fields) == 0 {
		return nil
	}
	kept := make([]hpack.HeaderField, 0, len(fields))
	for _, field := range fields {
		switch field.Name {
		case "content-type", "grpc-encoding", "grpc-accept-encoding", "grpc-status", "grpc-message", "grpc-status-details-bin", "content-length":
		default:
			if !strings.HasPrefix(field.Name, ":") {
				kept = append(kept, field)
			}
		}
	}
	return kept
}

// contentTypeOf returns the content type of an answer: the runtime's where it is known,
// otherwise the request's, which gRPC's servers repeat.
func contentTypeOf(runtime, request []hpack.HeaderField) string {
	for _, fields := range [][]hpack.HeaderField{runtime, request} {
		if text := frames.Field(fields, "content-type"); strings.HasPrefix(text, "application/grpc") {
			return text
		}
	}
	return "application/grpc"
}

// beginFields are those that an answer begins with.
func beginFields(contentType string, application []hpack.HeaderField) []hpack.HeaderField {
	return append([]hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: contentType}}, application...)
}

// endFields are those that an answer ends with.
func endFields(err error, application []hpack.HeaderField) []hpack.HeaderField {
	return append(statusFields(err), application...)
}

// timeoutUnits are those of grpc-timeout.
var timeoutUnits = []struct {
	letter byte
	unit   time.Duration
}{{'n', time.Nanosecond}, {'u', time.Microsecond}, {'m', time.Millisecond}, {'S', time.Second}, {'M', time.Minute}, {'H', time.Hour}}

const timeoutDigits = 8

// parseTimeout reads grpc-timeout. A server takes a malformed one for none.
func parseTimeout(text string) (time.Duration, bool) {
	if len(text) < 2 || len(text) > timeoutDigits+1 {
		return 0, false
	}
	number, err := strconv.ParseUint(text[:len(text)-1], 10, 64)
	if err != nil {
		return 0, false
	}
	for _, u := range timeoutUnits {
		if u.letter == text[len(text)-1] {
			if number > uint64((1<<63-1)/u.unit) {
				return 1<<63 - 1, true
			}
			return time.Duration(number) * u.unit, true
		}
	}
	return 0, false
}

// formatTimeout rounds up to the smallest unit that has the digits for it.
func formatTimeout(d time.Duration) string {
	if d <= 0 {
		return "0n"
	}
	for _, u := range timeoutUnits {
		if number := (d-1)/u.unit + 1; number < 100_000_000 {
			return strconv.FormatInt(int64(number), 10) + string(u.letter)
		}
	}
	return "99999999H" // never: it is more than a duration holds
}

// statusOf is the status of an answer, an error where it is not OK. The trailer of an answer that
// is one header block has all of it.
func statusOf(header, trailer []hpack.HeaderField) error {
	text := frames.Field(trailer, "grpc-status")
	code, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return httpStatus(header, trailer)
	}
	if code == 0 {
		return nil
	}
	if details := frames.Field(trailer, "grpc-status-details-bin"); details != "" {
		if decoded := decodeDetails(details); decoded != nil && decoded.Code == int32(code) {
			return status.FromProto(decoded).Err()
		}
	}
	return status.Error(codes.Code(code), decodeMessageText(frames.Field(trailer, "grpc-message")))
}

// httpStatus is the status of an answer without one of gRPC's
// (doc/http-grpc-status-mapping.md in grpc/grpc).
func httpStatus(header, trailer []hpack.HeaderField) error {
	text := frames.Field(header, ":status") + frames.Field(trailer, ":status")
	code := codes.Unknown
	switch text {
	case "200":
		return status.Error(codes.Internal, "the runtime's answer has no grpc-status")
	case "400":
		code = codes.Internal
	case "401":
		code = codes.Unauthenticated
	case "403":
		code = codes.PermissionDenied
	case "404":
		code = codes.Unimplemented
	case "429", "502", "503", "504":
		code = codes.Unavailable
	}
	return status.Errorf(code, "the runtime answered with HTTP status %.20q", text)
}

func decodeDetails(text string) *spb.Status {
	encoding := base64.RawStdEncoding
	if len(text)%4 == 0 {
		encoding = base64.StdEncoding // padded or of a length that needs no padding
	}
	raw, err := encoding.DecodeString(text)
	if err != nil {
		return nil
	}
	decoded := &spb.Status{}
	if proto.Unmarshal(raw, decoded) != nil {
		return nil
	}
	return decoded
}

// statusFields are the fields of an error's status, those of OK where it is nil.
func statusFields(err error) []hpack.HeaderField {
	if err == nil {
		return []hpack.HeaderField{{Name: "grpc-status", Value: "0"}}
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	fields := []hpack.HeaderField{
		{Name: "grpc-status", Value: strconv.Itoa(int(s.Code()))},
		{Name: "grpc-message", Value: encodeMessageText(s.Message())},
	}
	if p := s.Proto(); len(p.GetDetails()) > 0 {
		if raw, err := proto.Marshal(p); err == nil {
			fields = append(fields, hpack.HeaderField{Name: "grpc-status-details-bin", Value: base64.RawStdEncoding.EncodeToString(raw)})
		}
	}
	return fields
}

// encodeMessageText percent-encodes grpc-message: all but printable ASCII, and %.
func encodeMessageText(text string) string {
	var encoded strings.Builder
	for _, b := range []byte(strings.ToValidUTF8(text, "\uFFFD")) {
		if b >= ' ' && b <= '~' && b != '%' {
			encoded.WriteByte(b)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", b)
		}
	}
	return encoded.String()
}

// decodeMessageText leaves what is no percent-encoding as it is.
func decodeMessageText(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if b, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				decoded = append(decoded, byte(b))
				i += 2
				continue
			}
		}
		decoded = append(decoded, text[i])
	}
	return string(decoded)
}
