package frames

// batch is what one read leaves to be written, in order. As long as all of it lies
// in the read buffer as it is to be written, nothing is copied.
type batch struct {
	from     *reader
	copied   []byte
	run, end int // of the read buffer: what comes after copied
}

// keep adds a frame as it came.
func (b *batch) keep(f frame) {
	if b.run == b.end || b.end != f.at {
		b.copied = append(b.copied, b.from.buffer[b.run:b.end]...)
		b.run = f.at
	}
	b.end = f.at + len(f.bytes)
}

// edit lets what comes next be appended by a function.
func (b *batch) edit(appendTo func([]byte) []byte) {
	b.copied = appendTo(append(b.copied, b.from.buffer[b.run:b.end]...))
	b.run, b.end = 0, 0
}

// take returns what is to be written, and begins anew. It is valid until the next
// read or the next keep.
func (b *batch) take() []byte {
	run := b.from.buffer[b.run:b.end]
	b.run, b.end = 0, 0
	if len(b.copied) == 0 {
		return run
	}
	all := append(b.copied, run...)
	b.copied = all[:0]
	if cap(all) > bufferMax {
		b.copied = nil
	}
	return all
}
