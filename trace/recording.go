package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The format of a trace, streamed or in a file: a line with a [Header] and a line for each
// [Event], in JSON. The version changes when the meaning of a field changes, not when a
// field is added.
const (
	format        = "image-cri-shim trace"
	formatVersion = 1
	maxLineBytes  = maxQueuedBytes // longer lines are never sent
)

// Header is the first line of a trace.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Shim    string    `json:"shim"` // version of the shim
	Time    time.Time `json:"time"`
	Since   time.Time `json:"since,omitzero"` // start of the finished calls from the shim's memory
}

// NewHeader returns the header of a trace that begins now. shim is the shim's version.
func NewHeader(shim string) Header {
	return Header{Format: format, Version: formatVersion, Shim: shim, Time: time.Now().UTC().Round(0)}
}

// WriteHeader writes the first line of a recording.
func WriteHeader(w io.Writer, header Header) error { return json.NewEncoder(w).Encode(header) }

// WriteEvent writes a line of a recording.
func WriteEvent(w io.Writer, event Event) error {
	_, err := w.Write(encode(event))
	return err
}

// ErrVersion is returned for a trace with another version of the format.
var ErrVersion = errors.New("unsupported version of the trace format")

// ErrTruncated is returned if a recording ends in the middle of a line.
var ErrTruncated = errors.New("recording ends in the middle of an event")

// Recording reads a trace.
type Recording struct {
	Header Header
	reader *bufio.Reader
	line   int
}

// OpenRecording reads the header of a trace.
func OpenRecording(r io.Reader) (*Recording, error) {
	recording := &Recording{reader: bufio.NewReaderSize(r, 64<<10)}
	err := recording.decode(&recording.Header)
	switch h := recording.Header; {
	case err != nil || h.Format != format:
		return nil, errors.Join(errors.New("not a trace of image-cri-shim"), err)
	case h.Version != formatVersion:
		return nil, fmt.Errorf("%w: found %d, expected %d (written by image-cri-shim %q)", ErrVersion, h.Version, formatVersion, truncate(h.Shim))
	}
	return recording, nil
}

// Next returns the next event. After the last event it returns io.EOF, or [ErrTruncated] if
// the recording ends with an incomplete line.
func (r *Recording) Next() (Event, error) {
	var read struct { // arrays bound the memory that a malicious recording can use
		Event
		Images    [maxImages]string   `json:"images"`
		Decisions [maxImages]Decision `json:"decisions"`
	}
	if err := r.decode(&read); err != nil {
		return Event{}, err
	}
	event := read.Event
	if v := event.Version; v != 0 && v != formatVersion { // older recordings have the version only in the header
		return Event{}, fmt.Errorf("line %d: %w: found %d, expected %d", r.line, ErrVersion, v, formatVersion)
	}
	event.Images, event.Decisions = trimEmpty(read.Images[:]), trimEmpty(read.Decisions[:])
	switch event.Kind {
	case KindCall, KindMessage, KindLost:
		return event, nil
	}
	return Event{}, fmt.Errorf("line %d: unknown event kind %q", r.line, truncate(event.Kind))
}

// trimEmpty removes empty elements from the end of all.
func trimEmpty[T comparable](all []T) []T {
	for len(all) > 0 && all[len(all)-1] == *new(T) {
		all = all[:len(all)-1]
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (r *Recording) decode(value any) error {
	line, err := r.readLine()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, value); err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	return nil
}

// readLine returns the next line, including its line break.
func (r *Recording) readLine() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.reader.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxLineBytes:
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("line %d is longer than %d bytes", r.line, maxLineBytes)
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, ErrTruncated
		default:
			return nil, err
		}
	}
}
