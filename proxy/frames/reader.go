package frames

import (
	"io"

	"golang.org/x/net/http2"
)

const (
	bufferMin = 4 << 10
	bufferMax = 256 << 10
	// pieceLimit is the payload length up to which a DATA frame is always returned whole.
	pieceLimit = 32 << 10
	// smallReadLimit is the number of successive small reads after which a large buffer shrinks.
	smallReadLimit = 64
)

// reader reads frames from a connection into one buffer. For example, the first 40 KiB of a
// DATA frame of 100 KiB have arrived. The reader returns them as a DATA frame of 40 KiB, and
// the rest as further DATA frames when it arrives. Such pieces need no buffer of the frame's
// length, and other frames can be written between them.
type reader struct {
	from       io.Reader
	buffer     []byte // the first headerLength bytes are room for the header of a piece
	start, end int    // range of the unread data in the buffer
	pieceRest  header // the rest of the DATA frame that is returned in pieces
	smallReads int    // number of successive small reads; -1 after a read that filled the buffer
}

// fill reads once from the connection. It invalidates all frames returned before.
func (r *reader) fill() error {
	r.makeRoom()
	n, err := r.from.Read(r.buffer[r.end:])
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	r.noteReadSize(n)
	r.end += n
	return nil // the next read returns the error again
}

// noteReadSize records the size of a read. makeRoom uses it to grow or shrink the buffer.
func (r *reader) noteReadSize(n int) {
	switch {
	case n == len(r.buffer)-r.end:
		r.smallReads = -1
	case n < bufferMin/2:
		r.smallReads++
	default:
		r.smallReads = 0
	}
}

// makeRoom moves the unread data to the front of the buffer, which it grows or shrinks if
// necessary.
func (r *reader) makeRoom() {
	left := r.buffer[r.start:r.end]
	size := len(r.buffer)
	switch {
	case size == 0:
		size = bufferMin
	case r.smallReads < 0 && size < bufferMax:
		size *= 2
	case r.smallReads >= smallReadLimit && size > bufferMin:
		size = bufferMin
	}
	if need := headerLength + r.neededSize(left); size < need {
		size = need
	}
	if size == len(r.buffer) && r.start == headerLength {
		return // already at the front; avoids copying a large frame at every small read
	}
	buffer := r.buffer
	if size != len(buffer) {
		buffer, r.smallReads = make([]byte, size), 0
	}
	r.start, r.end = headerLength, headerLength+copy(buffer[headerLength:], left)
	r.buffer = buffer
}

// neededSize returns the buffer size for the next frame. left is the unread data.
func (r *reader) neededSize(left []byte) int {
	if r.pieceRest.length > 0 || len(left) < headerLength {
		return 2 * headerLength
	}
	h := parseHeader(left)
	if h.splittable() {
		return headerLength + 1
	}
	return headerLength + h.length
}

// splittable reports whether a frame may be returned in pieces. Frames of the usual length
// are not split, because the receiver would have to handle more frames.
func (h header) splittable() bool {
	return h.kind == http2.FrameData && !h.flags.Has(http2.FlagDataPadded) && h.length > pieceLimit
}

// next returns the next frame in the buffer. It reports false if no frame is available before
// the next fill.
func (r *reader) next() (frame, bool, error) {
	data := r.buffer[r.start:r.end]
	if r.pieceRest.length > 0 {
		if len(data) == 0 {
			return frame{}, false, nil
		}
		return r.piece(), true, nil
	}
	if len(data) < headerLength {
		return frame{}, false, nil
	}
	h := parseHeader(data)
	switch whole := headerLength + h.length; {
	case len(data) >= whole:
		r.start += whole
		return r.frame(h), true, nil
	case h.splittable() && len(data) > headerLength:
		r.pieceRest = h
		r.start += headerLength
		return r.piece(), true, nil
	case h.length > frameLimit && !h.splittable():
		return frame{}, false, connectionError{http2.ErrCodeFrameSize, "frame is too long"}
	default:
		return frame{}, false, nil
	}
}

// piece returns the available payload of a DATA frame as a frame. It writes the header of the
// piece before the payload, over the original header or into the room that makeRoom keeps.
func (r *reader) piece() frame {
	h := r.pieceRest
	h.length = min(h.length, r.end-r.start)
	if r.pieceRest.length -= h.length; r.pieceRest.length > 0 {
		h.flags &^= http2.FlagDataEndStream
	}
	r.start += h.length
	h.put(r.buffer[r.start-h.length-headerLength:])
	return r.frame(h)
}

// frame returns the frame with header h that ends at r.start.
func (r *reader) frame(h header) frame {
	at := r.start - h.length - headerLength
	return frame{header: h, at: at, bytes: r.buffer[at:r.start:r.start]}
}
