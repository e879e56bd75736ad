package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes of the memory for finished calls. A line of more than maxKeptLine bytes is kept without
// its decisions.
const (
	MinBuffer   = 64 << 10
	MaxBuffer   = 2 << 20
	maxKeptLine = MinBuffer / 2
)

// history keeps the events of finished calls as lines in a ring, for readers that look back. It
// keeps no messages, and nothing that is found in them, except decisions. It keeps no error
// texts. It is safe for concurrent use.
type history struct {
	enabled   atomic.Bool
	processes processNames

	mutex    sync.Mutex
	ring     ring
	complete time.Time             // when the history was switched on or off
	full     bool                  // lines were dropped: older calls than the first line are missing
	sequence uint64                // number of calls kept so far
	running  map[uint64][]Decision // by call ID; nil while the history is off
}

// resize sets the number of bytes, 0 for no history. It keeps the latest calls that fit.
func (h *history) resize(size int) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if size == len(h.ring.buffer) {
		return
	}
	kept := h.ring.appendTo(nil)
	h.ring = ring{buffer: make([]byte, size)}
	h.enabled.Store(size > 0)
	if size > 0 && h.running != nil {
		for line := range bytes.Lines(kept) {
			h.full = h.ring.push(line) || h.full
		}
		return
	}
	h.running, h.complete, h.full = nil, time.Now(), false
	if size > 0 {
		h.running = make(map[uint64][]Decision)
	}
}

// begin registers a running call.
func (h *history) begin(call Call) {
	h.processes.name(call.Client.Process, call.Start) // the process may have ended when the call ends
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.running != nil && len(h.running) < queueLength {
		h.running[call.ID] = nil
	}
}

// addDecision adds a decision to a running call.
func (h *history) addDecision(call uint64, decision Decision) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if known, ok := h.running[call]; ok && len(known) < maxImages {
		h.running[call] = append(known, decision)
	}
}

// take unregisters a running call and returns its decisions.
func (h *history) take(call uint64) []Decision {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	decisions := h.running[call]
	delete(h.running, call)
	return decisions
}

// line returns the line that is kept for a call.
func (h *history) line(call Call, result Result) []byte {
	client := call.Client
	if client.Name == "" {
		client.Name = h.processes.name(client.Process, call.Start)
	}
	event := Event{
		Kind: KindCall, Time: call.Start.UTC().Round(0), ID: call.ID, Client: &client, Method: truncate(call.Method),
		Seconds: result.Duration.Seconds(), Code: result.Code.String(), RequestBytes: result.RequestBytes, ResponseBytes: result.ResponseBytes,
	}
	plain := event
	event.addDecisions(h.take(call.ID))
	if line := encode(event); len(line) <= maxKeptLine {
		return line
	}
	return encode(plain)
}

// ErrNoHistory is returned if no finished calls are kept.
var ErrNoHistory = errors.New("no finished calls are kept")

// push adds a line and returns its number, or 0 if the history is off. h.mutex must be locked.
func (h *history) push(line []byte) (sequence uint64) {
	if h.running == nil {
		return 0
	}
	h.full = h.ring.push(line) || h.full
	h.sequence++
	return h.sequence
}

// snapshot is a copy of a history.
type snapshot struct {
	text     []byte
	complete time.Time
	full     bool
}

// newSnapshot returns a snapshot with enough memory, so that copyTo takes little time.
func newSnapshot() snapshot { return snapshot{text: make([]byte, 0, MaxBuffer)} }

// copyTo copies the history. h.mutex must be locked.
func (h *history) copyTo(s *snapshot) {
	s.text, s.complete, s.full = h.ring.appendTo(s.text[:0]), h.complete, h.full
}

// Past is a part of the finished calls.
type Past struct {
	Since time.Time // calls that ended before are missing
	Lines [][]byte  // events as lines of JSON, in the order in which the calls ended
}

// since returns the calls that match filter and ended at or after start.
func (s snapshot) since(start time.Time, filter Filter) Past {
	past, complete := Past{}, s.complete
	for line := range bytes.Lines(s.text) {
		var event Event
		if json.Unmarshal(line, &event) != nil {
			continue // can't happen: encode has written it
		}
		end := event.Time.Add(time.Duration(event.Seconds * float64(time.Second)))
		if s.full {
			complete, s.full = end, false
		}
		if !end.Before(start) && filter.Match(&event) {
			past.Lines = append(past.Lines, line)
		}
	}
	past.Since = start
	if complete.After(start) {
		past.Since = complete
	}
	past.Since = past.Since.UTC().Round(0)
	return past
}
