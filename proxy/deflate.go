package proxy

import (
	"compress/zlib"
	"io"

	"google.golang.org/grpc/encoding"
)

// deflateName is the grpc-encoding of the zlib format (RFC 1950), which gRPC's C-core and
// grpc-js use. grpc-go has no compressor for it.
const deflateName = "deflate"

func init() { encoding.RegisterCompressor(deflate{}) }

// deflate implements [encoding.Compressor].
type deflate struct{}

// Name implements [encoding.Compressor].
func (deflate) Name() string { return deflateName }

// Compress implements [encoding.Compressor].
func (deflate) Compress(to io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(to), nil }

// Decompress implements [encoding.Compressor].
func (deflate) Decompress(from io.Reader) (io.Reader, error) { return zlib.NewReader(from) }
