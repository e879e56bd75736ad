package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/frames"
)

// prefixLength is the length in bytes of the prefix of a message: a flag for compression and
// the length of the message (gRPC over HTTP/2, Length-Prefixed-Message).
const prefixLength = 5

// bodyReader is a body from which messages are read.
type bodyReader interface {
	Receive(ctx context.Context, n int) ([]byte, error)
}

// receiveMessage returns the next message, or io.EOF after the last one. fields are the header
// fields of the body.
func receiveMessage(ctx context.Context, from bodyReader, fields []hpack.HeaderField) ([]byte, error) {
	prefix, err := from.Receive(ctx, prefixLength)
	if err != nil {
		return nil, statusOfTruncation(err)
	}
	message, err := from.Receive(ctx, int(binary.BigEndian.Uint32(prefix[1:])))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, statusOfTruncation(err)
	}
	return decompress(prefix[0], message, fields)
}

// statusOfTruncation returns the status for a body that ends inside a message, or err.
func statusOfTruncation(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return status.Error(codes.Internal, "the call ended inside a message")
	}
	return err
}

// decodeSingle returns the message of a body that has exactly one.
func decodeSingle(body []byte, fields []hpack.HeaderField) ([]byte, error) {
	if len(body) < prefixLength || uint64(len(body)) != prefixLength+uint64(binary.BigEndian.Uint32(body[1:])) {
		return nil, status.Errorf(codes.Internal, "runtime answered with %d bytes that are not one message", len(body))
	}
	return decompress(body[0], body[prefixLength:], fields)
}

// encodeMessage returns a message with its prefix.
func encodeMessage(message []byte) []byte {
	encoded := make([]byte, prefixLength, prefixLength+len(message))
	binary.BigEndian.PutUint32(encoded[1:], uint32(len(message)))
	return append(encoded, message...)
}

// canDecode reports whether messages with these header fields can be decoded.
func canDecode(fields []hpack.HeaderField) bool {
	return knownEncoding(frames.Field(fields, "grpc-encoding"))
}

// isPlain reports whether messages with these header fields are uncompressed.
func isPlain(fields []hpack.HeaderField) bool {
	encoding := frames.Field(fields, "grpc-encoding")
	return encoding == "" || encoding == "identity"
}

// decompressors maps each grpc-encoding to its decompressor.
var decompressors = map[string]func(io.Reader) (io.Reader, error){
	"gzip":      func(from io.Reader) (io.Reader, error) { return gzip.NewReader(from) },
	deflateName: deflate{}.Decompress,
}

// knownEncoding reports whether messages of a grpc-encoding can be decoded.
func knownEncoding(encoding string) bool {
	return encoding == "" || encoding == "identity" || decompressors[encoding] != nil
}

// decompress decodes a message according to the flag in its prefix and the encoding in the
// header fields.
func decompress(flag byte, message []byte, fields []hpack.HeaderField) ([]byte, error) {
	if flag == 0 {
		return message, nil
	}
	encoding := frames.Field(fields, "grpc-encoding")
	open := decompressors[encoding]
	if flag != 1 || open == nil {
		return nil, status.Errorf(codes.Internal, "a message with flag %d and grpc-encoding %.20q can't be decoded", flag, encoding)
	}
	reader, err := open(bytes.NewReader(message))
	if err != nil {
		return nil, status.Errorf(codes.Internal, "a message can't be decompressed: %v", err)
	}
	decoded, err := io.ReadAll(io.LimitReader(reader, decompressedLimit+1))
	if err != nil {
		return nil, status.Errorf(codes.Internal, "a message can't be decompressed: %v", err)
	}
	if len(decoded) > decompressedLimit {
		return nil, status.Errorf(codes.ResourceExhausted, "a message is larger than %d bytes when decompressed", decompressedLimit)
	}
	return decoded, nil
}

// decompressedLimit bounds the size of a decompressed message in bytes.
const decompressedLimit = 64 << 20
