package frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
)

// goAway passes GOAWAY on. Taken requests that the server does not know are not
// for the client to make again, so that the last identifier becomes theirs; what
// the server really leaves out below it is refused instead.
func (d *down) goAway(f frame) error {
	if f.length < 8 {
		return connectionError{http2.ErrCodeFrameSize, "GOAWAY too short"}
	}
	payload := f.payload()
	last := binary.BigEndian.Uint32(payload) & streamMask
	if err := d.flush(); err != nil {
		return err
	}
	// The identifier is chosen and written in one: it must never grow (RFC 9113, 6.8).
	w := &d.clientWriter
	w.writing.Lock()
	announced, refused, ended := d.limitTo(last)
	binary.BigEndian.PutUint32(payload, announced)
	frames := slices.Clone(f.bytes)
	for _, id := range refused {
		frames = appendReset(frames, id, http2.ErrCodeRefusedStream)
	}
	err := w.writeLocked(d.client, frames)
	w.writing.Unlock()
	for _, end := range ended {
		end(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
	return err
}

// limitTo notes that the server answers no request after last. It returns the last one that
// the client may expect an answer to, those below it that the server does not answer, and
// the functions of their observers.
func (d *down) limitTo(last uint32) (announced uint32, refused []uint32, ended []func(Outcome)) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.serverLeaves = true
	d.limit = min(d.limit, max(last, d.lastTaken))
	for id, s := range d.open {
		if id > last && id%2 == 1 {
			ended = append(ended, d.close(id))
			if !d.resetAfterQueue(s, http2.ErrCodeRefusedStream) && id <= d.limit {
				refused = append(refused, id)
			}
		}
	}
	return d.limit, refused, ended
}
