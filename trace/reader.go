package trace

import (
	"context"
	"sync"
	"time"
)

// Bounds of what waits for a reader.
const (
	mostLines     = 10_000
	mostLineBytes = 16 << 20
)

// Reader gets the events that it has asked for.
type Reader struct {
	hub     *Hub
	session *session
	filter  Filter
	bodies  bool
	wake    chan struct{} // has an element when there is something to get

	mutex sync.Mutex
	lines [][]byte
	bytes int
	lost  int64 // after lines
}

// Next returns the next event as a line of JSON, or ctx's error. It is to be called
// from one goroutine.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	for {
		if line := r.take(); line != nil {
			return line, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.wake:
		}
	}
}

// Waiting tells whether Next has something to return at once.
func (r *Reader) Waiting() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.lines) > 0 || r.lost > 0
}

// Close ends the reading.
func (r *Reader) Close() { r.hub.leave(r) }

// take returns nil where nothing waits.
func (r *Reader) take() []byte {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.lines) == 0 {
		return r.loss()
	}
	line := r.lines[0]
	r.lines[0] = nil
	r.lines = r.lines[1:]
	r.bytes -= len(line)
	return line
}

// loss is the news of what was lost since the last line; nil if nothing was.
func (r *Reader) loss() []byte {
	if r.lost == 0 {
		return nil
	}
	line := encode(Event{Kind: KindLost, Time: time.Now().UTC().Round(0), Lost: r.lost})
	r.lost = 0
	return line
}

// push adds a line; one that there is no room for is lost.
func (r *Reader) push(line []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	defer r.signal()
	if len(r.lines) >= mostLines || r.bytes+len(line) > mostLineBytes {
		r.lost++
		return
	}
	if loss := r.loss(); loss != nil {
		r.lines = append(r.lines, loss)
		r.bytes += len(loss)
	}
	r.lines = append(r.lines, line)
	r.bytes += len(line)
}

// lose counts what never came to a line.
func (r *Reader) lose(events int64) {
	if events == 0 {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.lost += events
	r.signal()
}

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
