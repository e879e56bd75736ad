package frames

import "sync"

const defaultTableSize = 4096 // initial SETTINGS_HEADER_TABLE_SIZE, in bytes

// tableLimit records the SETTINGS_HEADER_TABLE_SIZE of a receiver of header blocks. It is
// safe for concurrent use.
type tableLimit struct {
	mutex    sync.Mutex
	current  uint32
	largest  uint32 // largest size of all
	smallest uint32 // smallest size since the last header block
}

func newTableLimit() tableLimit {
	return tableLimit{current: defaultTableSize, largest: defaultTableSize, smallest: defaultTableSize}
}

// set records a new size.
func (l *tableLimit) set(size uint32) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.current, l.largest, l.smallest = size, max(l.largest, size), min(l.smallest, size)
}

// allowed returns the largest size of all. A block that was sent before the receiver reduced
// its table may still use this size.
func (l *tableLimit) allowed() uint32 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.largest
}

// next returns the table size for the next block. It is the smallest size since the last
// block, to which the encoder must reduce its table (RFC 7541, 4.2).
func (l *tableLimit) next() uint32 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	least := l.smallest
	l.smallest = l.current
	return least
}

// tableUpdate is a dynamic table size update (RFC 7541, 6.3). If it is due, the next block
// for the client must begin with it.
type tableUpdate struct {
	due  bool
	size uint32
}

// require makes an update to a smaller table due. If several are required, the smallest size
// counts.
func (u *tableUpdate) require(size uint32) {
	if u.due {
		size = min(size, u.size)
	}
	*u = tableUpdate{due: true, size: size}
}

// append appends the update if it is due.
func (u *tableUpdate) append(b []byte) []byte {
	if u.due {
		b = appendInteger(b, 0x20, 5, int(u.size))
	}
	return b
}
