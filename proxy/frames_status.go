package proxy

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"image-cri-shim/proxy/frames"
)

// statusOf returns the status of an answer, or nil for OK. If an answer has only one header
// block, its status is in trailer.
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

// httpStatus returns the status of an answer without a grpc-status
// (doc/http-grpc-status-mapping.md in grpc/grpc).
func httpStatus(header, trailer []hpack.HeaderField) error {
	text := frames.Field(header, ":status") + frames.Field(trailer, ":status")
	code := codes.Unknown
	switch text {
	case "200":
		return status.Error(codes.Internal, "runtime's answer has no grpc-status")
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
	return status.Errorf(code, "runtime answered with HTTP status %.20q", text)
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

// statusFields returns the fields of an error's status; nil is OK.
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

// encodeMessageText percent-encodes a grpc-message: % and all but printable ASCII.
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

// decodeMessageText decodes a grpc-message. Malformed percent-encoding is kept unchanged.
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
