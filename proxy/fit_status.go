package proxy

import (
	"encoding/base64"
	"errors"
	"sort"
	"strings"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
)

// headerListLimit is a size in bytes of a header list (RFC 9113, 6.5.2) that every client
// accepts. gRPC's C-core rejects some larger lists without announcing a limit.
const headerListLimit = 8 << 10

// ellipsis ends an appended text that was shortened.
const ellipsis = "..."

// fitStatus returns the error to send for err in a header list of at most limit bytes. others
// is the size of the other fields in the list. fitStatus shortens only the text that an
// interceptor has appended, never the runtime's own text, which alone may exceed the limit.
func fitStatus(err error, others, limit int) error {
	failure, ok := errors.AsType[intercept.AppendedError](err)
	if !ok || others+headerListSize(statusFields(err)) <= limit {
		return err
	}
	appended := failure.Appended()
	cut := failure.GRPCStatus().Proto()
	own := strings.TrimSuffix(cut.Message, appended)
	fits := func(text string) bool {
		cut.Message = own + text
		return others+headerListSize(statusFields(status.FromProto(cut).Err())) <= limit
	}
	shortened := func(n int) string { return strings.ToValidUTF8(appended[:n], "") + ellipsis }
	n := sort.Search(len(appended), func(n int) bool { return !fits(shortened(n)) }) - 1
	if n <= 0 {
		cut.Message = own
	} else {
		cut.Message = own + shortened(n)
	}
	return status.FromProto(cut).Err()
}

// headerListSize returns the size of a header list.
func headerListSize(fields []hpack.HeaderField) int {
	size := 0
	for _, field := range fields {
		size += int(field.Size())
	}
	return size
}

// metadataSize returns the size of metadata in a header list.
func metadataSize(of metadata.MD) int {
	size := 0
	for name, values := range of {
		for _, value := range values {
			if strings.HasSuffix(name, "-bin") {
				value = base64.RawStdEncoding.EncodeToString([]byte(value))
			}
			size += int(hpack.HeaderField{Name: name, Value: value}.Size())
		}
	}
	return size
}
