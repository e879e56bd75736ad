package frames

import (
	"fmt"

	"golang.org/x/net/http2"
)

// checkLawful returns an error for a frame of the client that HTTP/2 does not allow, and
// that the server does not see as it came, or not at all.
func (u *up) checkLawful(f frame) error {
	switch f.kind {
	case http2.FrameHeaders, http2.FrameContinuation: // they are cut anew
		if limit := u.serverFrameLimit.Load(); f.length > int(limit) {
			return connectionError{http2.ErrCodeFrameSize, fmt.Sprintf("%v longer than %d bytes", f.kind, limit)}
		}
	case http2.FrameData, http2.FrameRSTStream:
		if _, err := f.number(); err != nil && f.kind == http2.FrameRSTStream {
			return err
		}
		if f.stream == 0 || u.isIdle(f.stream) {
			return connectionError{http2.ErrCodeProtocol, fmt.Sprintf("%v on stream %d, which is not open", f.kind, f.stream)}
		}
	case http2.FrameWindowUpdate:
		if _, err := f.number(); err != nil {
			return err
		}
		if u.isIdle(f.stream) {
			return connectionError{http2.ErrCodeProtocol, "WINDOW_UPDATE on an idle stream"}
		}
	case http2.FramePriority:
		if f.stream == 0 {
			return connectionError{http2.ErrCodeProtocol, "PRIORITY on no stream"}
		}
	}
	return nil
}

// isIdle reports whether the client could have opened a stream and has not.
func (u *up) isIdle(id uint32) bool {
	if id%2 == 0 {
		return false // the server's, which promises it
	}
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return id > u.highest
}

// checkUpdate returns what is wrong with n bytes more for a window of the client's (RFC
// 9113, 6.9 and 6.9.1); http2.ErrCodeNo if nothing is.
func checkUpdate(w window, n int) http2.ErrCode {
	switch {
	case n == 0:
		return http2.ErrCodeProtocol
	case w.receiver+n > windowLimit:
		return http2.ErrCodeFlowControl
	}
	return http2.ErrCodeNo
}
