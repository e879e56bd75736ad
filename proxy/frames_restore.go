package proxy

import (
	"context"
	"encoding/binary"
	"time"

	"golang.org/x/net/http2/hpack"

	"image-cri-shim/proxy/frames"
)

// restoreTimeout bounds each question that the restoring of an answer asks the runtime.
const restoreTimeout = 5 * time.Second

// restorer lets a call pass whose answer alone may have to be changed; nil where it
// may not.
func (e *framesEngine) restorer(pass Pass, o *observed, body []byte) frames.Restorer {
	request, ok := onlyMessage(body)
	if !ok {
		return nil
	}
	restore, ok := pass(request)
	if !ok {
		return nil
	}
	return func(header []hpack.HeaderField, body []byte) []byte {
		response, err := decodeOnly(body, header)
		if err != nil {
			return body // it is for the client to judge
		}
		restored := restore(o.context(e.lifetime), response, e.invokeBriefly)
		if sameBytes(restored, response) {
			return body
		}
		return encodeMessage(restored)
	}
}

// invokeBriefly is invoke while others wait.
func (e *framesEngine) invokeBriefly(ctx context.Context, method string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	return e.invoke(ctx, method, request)
}

func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// onlyMessage returns the one message of a body, where it is not compressed.
func onlyMessage(body []byte) ([]byte, bool) {
	if len(body) < prefixLength || body[0] != 0 || uint64(len(body)) != prefixLength+uint64(binary.BigEndian.Uint32(body[1:])) {
		return nil, false
	}
	return body[prefixLength:], true
}
