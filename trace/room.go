package trace

import "sync/atomic"

// room bounds the bytes of messages that are kept, or on their way to be. It is safe for
// concurrent use.
type room struct{ taken atomic.Int64 }

const mostHeld = 32 << 20 // bytes

// crowded is why a message is not there that there was no room for.
const crowded = "too much is on its way at once"

// take returns false where there is not as much room.
func (r *room) take(bytes int) bool {
	if r.taken.Add(int64(bytes)) > mostHeld {
		r.free(bytes)
		return false
	}
	return true
}

func (r *room) free(bytes int) { r.taken.Add(-int64(bytes)) }
