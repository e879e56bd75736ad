package frames

import "sync"

const (
	tableSize     = 4096   // of HPACK's dynamic table before any settings
	settingsLimit = 10_000 // SETTINGS of the client that the server has not acknowledged
)

// tableLimit is the size of the dynamic table that a receiver of header blocks allows.
// It is safe for concurrent use.
type tableLimit struct {
	mutex sync.Mutex
	now   uint32
	most  uint32 // ever
	least uint32 // since the last block
}

func newTableLimit() tableLimit {
	return tableLimit{now: tableSize, most: tableSize, least: tableSize}
}

// set notes a new size.
func (l *tableLimit) set(size uint32) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.now, l.most, l.least = size, max(l.most, size), min(l.least, size)
}

// allowed returns the largest size that was ever allowed: blocks that were sent before
// the receiver made its table smaller may still use it.
func (l *tableLimit) allowed() uint32 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.most
}

// next returns the size for the next block: the least since the last one, to which the
// table must have been reduced in between (RFC 7541, 4.2).
func (l *tableLimit) next() uint32 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	least := l.least
	l.least = l.now
	return least
}

// clientTable follows the size of the client's dynamic table, for header blocks that the
// relay writes itself. After the client has made its table smaller the next block that it
// gets must begin with a size update (RFC 7541, 4.2), whether the server or the relay has
// made that block. The change takes effect where the server acknowledges it: until then
// the server's blocks may use the larger table.
type clientTable struct {
	tableLimit // of the SETTINGS that the client has sent

	waiting   sync.Mutex // guards the rest
	announced []int64    // table sizes in unacknowledged SETTINGS, unchanged where negative
	size      uint32     // acknowledged
}

func newClientTable() clientTable { return clientTable{tableLimit: newTableLimit(), size: tableSize} }

const unchanged = -1

// announce notes SETTINGS of the client. It reports false where the server leaves too many
// of them unacknowledged.
func (t *clientTable) announce(size int64) bool {
	t.waiting.Lock()
	defer t.waiting.Unlock()
	t.announced = append(t.announced, size)
	return len(t.announced) <= settingsLimit
}

// acknowledge notes that the server acknowledges the oldest SETTINGS. It returns the
// table's size where that has become smaller.
func (t *clientTable) acknowledge() (size uint32, smaller bool) {
	t.waiting.Lock()
	defer t.waiting.Unlock()
	if len(t.announced) == 0 {
		return 0, false
	}
	first := t.announced[0]
	t.announced = t.announced[1:]
	if first == unchanged {
		return 0, false
	}
	smaller = uint32(first) < t.size
	t.size = uint32(first)
	return t.size, smaller
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
