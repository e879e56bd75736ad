package trace

import "bytes"

// ring holds lines in a fixed number of bytes. A new line replaces the oldest ones. Lines end
// with a line break and have no other.
type ring struct {
	buffer      []byte
	start, used int // the lines are buffer[start:start+used], which may continue at index 0
}

// push adds a line, and reports whether others were dropped for it. The line must fit into
// the buffer.
func (r *ring) push(line []byte) (dropped bool) {
	for r.used+len(line) > len(r.buffer) {
		r.drop()
		dropped = true
	}
	end := (r.start + r.used) % len(r.buffer)
	rest := line[copy(r.buffer[end:], line):]
	copy(r.buffer, rest)
	r.used += len(line)
	return dropped
}

// drop removes the oldest line.
func (r *ring) drop() {
	first, second := r.parts()
	length := bytes.IndexByte(first, '\n') + 1
	if length == 0 {
		length = len(first) + bytes.IndexByte(second, '\n') + 1
	}
	r.start = (r.start + length) % len(r.buffer)
	r.used -= length
}

// parts returns the lines, the oldest first. The first part ends at the end of the buffer if
// there is a second.
func (r *ring) parts() (first, second []byte) {
	end := r.start + r.used
	if end <= len(r.buffer) {
		return r.buffer[r.start:end], nil
	}
	return r.buffer[r.start:], r.buffer[:end-len(r.buffer)]
}

// appendTo appends the lines to text, the oldest first.
func (r *ring) appendTo(text []byte) []byte {
	first, second := r.parts()
	return append(append(text, first...), second...)
}
