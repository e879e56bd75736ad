package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The format of a trace, on its way and in a file: a line with a [Header], and a line
// with an [Event] for each event, in JSON. Fields may be added to it; its version
// changes when those that are there get another meaning.
const (
	format        = "image-cri-shim trace"
	formatVersion = 1
	longestLine   = mostLineBytes // nothing longer is told
)

// Header is the first line of a trace.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Shim    string    `json:"shim"` // its version
	Time    time.Time `json:"time"`
}

// NewHeader is the header of a trace that begins now.
func NewHeader(shim string) Header {
	return Header{Format: format, Version: formatVersion, Shim: shim, Time: time.Now().UTC().Round(0)}
}

// WriteHeader begins a recording.
func WriteHeader(w io.Writer, header Header) error { return json.NewEncoder(w).Encode(header) }

// WriteEvent adds an event to a recording.
func WriteEvent(w io.Writer, event Event) error {
	_, err := w.Write(encode(event))
	return err
}

// ErrVersion says that a trace can't be read because another version has made it.
var ErrVersion = errors.New("it is of another version of image-cri-shim")

// ErrCut is the end of a recording in the middle of a line.
var ErrCut = errors.New("the recording ends in the middle of an event")

// Recording reads a trace.
type Recording struct {
	Header Header
	reader *bufio.Reader
	line   int
}

// OpenRecording reads the header.
func OpenRecording(r io.Reader) (*Recording, error) {
	recording := &Recording{reader: bufio.NewReaderSize(r, 64<<10)}
	err := recording.decode(&recording.Header)
	switch h := recording.Header; {
	case err != nil || h.Format != format:
		return nil, errors.Join(errors.New("it is no trace of image-cri-shim"), err)
	case h.Version != formatVersion:
		return nil, fmt.Errorf("%w: found version %d of the format, expected %d (image-cri-shim %q)", ErrVersion, h.Version, formatVersion, bounded(h.Shim))
	}
	return recording, nil
}

// Next returns the next event; the error is io.EOF after the last one, and [ErrCut]
// where it is not whole.
func (r *Recording) Next() (Event, error) {
	var read struct { // arrays, so that what no shim tells takes no memory
		Event
		Images    [mostImages]string   `json:"images"`
		Decisions [mostImages]Decision `json:"decisions"`
	}
	if err := r.decode(&read); err != nil {
		return Event{}, err
	}
	event := read.Event
	event.Images, event.Decisions = used(read.Images[:]), used(read.Decisions[:])
	switch event.Kind {
	case KindCall, KindMessage, KindLost:
		return event, nil
	}
	return Event{}, fmt.Errorf("line %d: found an event of the kind %q", r.line, bounded(event.Kind))
}

// used are the elements before the empty ones at the end.
func used[T comparable](all []T) []T {
	for len(all) > 0 && all[len(all)-1] == *new(T) {
		all = all[:len(all)-1]
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (r *Recording) decode(value any) error {
	line, err := r.read()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, value); err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	return nil
}

// read returns a line.
func (r *Recording) read() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.reader.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < longestLine:
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("line %d is longer than %d bytes", r.line, longestLine)
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, ErrCut
		default:
			return nil, err
		}
	}
}
