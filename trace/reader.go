package trace

import (
	"context"
	"sync"
	"time"
)

// Bounds of a reader's queue.
const (
	maxQueuedLines = 10_000
	maxQueuedBytes = 16 << 20
)

// Reader receives the events that match its filter.
type Reader struct {
	hub     *Hub
	session *session
	filter  Filter
	bodies  bool
	after   uint64        // number of the last call in the history that the reader must not get
	wake    chan struct{} // receives a value when lines or lost changes

	mutex sync.Mutex
	lines [][]byte
	bytes int
	lost  int64 // events dropped after the last line
}

// Next returns the next event as a line of JSON, or ctx's error. Only one goroutine may
// call it.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	for {
		if line := r.pop(); line != nil {
			return line, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.wake:
		}
	}
}

// Ready reports whether Next would return without waiting.
func (r *Reader) Ready() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.lines) > 0 || r.lost > 0
}

// Close removes the reader from its hub.
func (r *Reader) Close() { r.hub.leave(r) }

// pop removes and returns the next line, or returns nil if there is none.
func (r *Reader) pop() []byte {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.lines) == 0 {
		return r.takeLost()
	}
	line := r.lines[0]
	r.lines[0] = nil
	r.lines = r.lines[1:]
	r.bytes -= len(line)
	return line
}

// takeLost returns a line with the number of events lost since the last line, and resets
// it. It returns nil if none was lost.
func (r *Reader) takeLost() []byte {
	if r.lost == 0 {
		return nil
	}
	line := encode(Event{Kind: KindLost, Time: time.Now().UTC().Round(0), Lost: r.lost})
	r.lost = 0
	return line
}

// push appends a line to the queue. If the queue is full, the line is lost.
func (r *Reader) push(line []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	defer r.notify()
	if len(r.lines) >= maxQueuedLines || r.bytes+len(line) > maxQueuedBytes {
		r.lost++
		return
	}
	if loss := r.takeLost(); loss != nil {
		r.lines = append(r.lines, loss)
		r.bytes += len(loss)
	}
	r.lines = append(r.lines, line)
	r.bytes += len(line)
}

// addLost counts events that were lost before they became lines.
func (r *Reader) addLost(events int64) {
	if events == 0 {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.lost += events
	r.notify()
}

func (r *Reader) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
