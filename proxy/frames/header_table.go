package frames

import "sync"

const defaultTableSize = 4096 // of HPACK's dynamic table before any settings

// tableLimit is the size of the dynamic table that a receiver of header blocks allows.
// It is safe for concurrent use.
type tableLimit struct {
	mutex    sync.Mutex
	current  uint32
	largest  uint32 // ever
	smallest uint32 // since the last block
}

func newTableLimit() tableLimit {
	return tableLimit{current: defaultTableSize, largest: defaultTableSize, smallest: defaultTableSize}
}

// set notes a new size.
func (l *tableLimit) set(size uint32) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.current, l.largest, l.smallest = size, max(l.largest, size), min(l.smallest, size)
}

// allowed returns the largest size that was ever allowed: blocks that were sent before
// the receiver made its table smaller may still use it.
func (l *tableLimit) allowed() uint32 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.largest
}

// next returns the size for the next block: the least since the last one, to which the
// table must have been reduced in between (RFC 7541, 4.2).
func (l *tableLimit) next() uint32 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	least := l.smallest
	l.smallest = l.current
	return least
}

// tableUpdate is a size update that the next block for the client must begin with.
type tableUpdate struct {
	due  bool
	size uint32
}

// require notes a smaller table.
func (u *tableUpdate) require(size uint32) {
	if u.due {
		size = min(size, u.size)
	}
	*u = tableUpdate{due: true, size: size}
}

// append appends the update if it is due (RFC 7541, 6.3).
func (u *tableUpdate) append(b []byte) []byte {
	if u.due {
		b = appendInteger(b, 0x20, 5, int(u.size))
	}
	return b
}
