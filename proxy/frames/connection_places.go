package frames

import "time"

// place is the outcome of a reservation.
type place int

const (
	noPlace      place = iota // the server's limit is reached
	takenPlace                // reserved
	unknownPlace              // the server has yet to send its settings, with its limit, or does not read
	gonePlace                 // the connection takes no more requests
)

// reserve reserves a place for a request. Before the server has sent its settings there
// is one place.
func (c *connection) reserve() place {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	taken := len(c.answers) + c.reserved
	switch {
	case !c.takes():
		c.closeIdle()
		return gonePlace
	case !c.settled && taken > 0 || c.stalled:
		return unknownPlace
	case c.settled && taken >= c.most:
		return noPlace
	}
	c.reserved++
	if c.idle != nil {
		c.idle.Stop()
	}
	return takenPlace
}

// release gives a reserved place up.
func (c *connection) release() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reserved--
	c.vacated()
}

// vacated is called with the mutex held when a request has ended, or will not begin.
func (c *connection) vacated() {
	c.signal()
	if c.closeIdle(); c.spare && c.takes() && len(c.answers)+c.reserved == 0 {
		c.idle = time.AfterFunc(spareIdle, c.retire)
	}
}

// retire leaves the connection if it has no request.
func (c *connection) retire() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.answers)+c.reserved == 0 {
		c.leaving = true
		c.closeIdle()
	}
}

// takes reports whether another request can be begun once there is a place for it. The
// caller holds the mutex.
func (c *connection) takes() bool {
	return c.failure == nil && !c.leaving && c.next <= streamMask
}

// closeIdle closes a connection that takes no more requests and has none; the caller
// holds the mutex.
func (c *connection) closeIdle() {
	if !c.takes() && len(c.answers)+c.reserved == 0 {
		_ = c.conn.Close() // run notices
	}
}
