package frames

// batch collects the frames that result from one read, in the order in which they are
// written. Frames that are forwarded unchanged and lie next to each other in the read buffer
// are written from there without a copy.
type batch struct {
	from     *reader
	copied   []byte
	run, end int // range of the read buffer that follows copied
}

// keep adds a frame of the read buffer unchanged.
func (b *batch) keep(f frame) {
	if b.run == b.end || b.end != f.at {
		b.copied = append(b.copied, b.from.buffer[b.run:b.end]...)
		b.run = f.at
	}
	b.end = f.at + len(f.bytes)
}

// edit adds the frames that appendTo appends to its argument.
func (b *batch) edit(appendTo func([]byte) []byte) {
	b.copied = appendTo(append(b.copied, b.from.buffer[b.run:b.end]...))
	b.run, b.end = 0, 0
}

// take returns the collected frames and empties the batch. The result is valid until the
// next call of fill, keep or edit.
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
