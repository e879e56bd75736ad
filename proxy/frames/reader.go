package frames

import (
	"io"

	"golang.org/x/net/http2"
)

const (
	bufferMin = 4 << 10
	bufferMax = 256 << 10
	// pieceLimit is how long a DATA frame may be that is handed out as a whole.
	pieceLimit = 32 << 10
	// smallReadLimit is the number of successive small reads after which a large buffer shrinks.
	smallReadLimit = 64
)

// reader cuts what a connection sends into frames, in one buffer. A long DATA frame
// whose end has not arrived yet is handed out in pieces, each as a DATA frame of
// its own, so that it needs no buffer of its length and nothing ever has to stop
// in the middle of a frame.
type reader struct {
	from       io.Reader
	buffer     []byte // its first bytes are room for the header of a piece
	start, end int    // of what was read and not handed out
	pieceRest  header // of the DATA frame that is handed out in pieces: what is to come
	smallReads int    // small reads in a row
}

// fill reads once. It makes all frames invalid that were handed out.
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
	return nil // an error will come again
}

// noteReadSize notes the size of a read. It decides whether makeRoom grows or shrinks the
// buffer.
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

// makeRoom moves what is left to the front of a buffer that suits it.
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
		return // it lies there already: a large frame may come in many small pieces
	}
	buffer := r.buffer
	if size != len(buffer) {
		buffer, r.smallReads = make([]byte, size), 0
	}
	r.start, r.end = headerLength, headerLength+copy(buffer[headerLength:], left)
	r.buffer = buffer
}

// neededSize returns the size of the buffer for the frame that begins with left.
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

// splittable reports whether a frame may be handed out in pieces. Frames of the usual
// length are read as a whole: pieces are more work for their receiver.
func (h header) splittable() bool {
	return h.kind == http2.FrameData && !h.flags.Has(http2.FlagDataPadded) && h.length > pieceLimit
}

// next returns the next frame that was read, and false if there is none.
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
		return frame{}, false, connectionError{http2.ErrCodeFrameSize, "a frame that is too long"}
	default:
		return frame{}, false, nil
	}
}

// piece makes a frame of what has arrived of a DATA frame's payload. Before it
// lies the frame's own header, or the room for one.
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

// frame is the one that ends where the unread data starts.
func (r *reader) frame(h header) frame {
	at := r.start - h.length - headerLength
	return frame{header: h, at: at, bytes: r.buffer[at:r.start:r.start]}
}
