package frames

import "time"

// place is the outcome of a reservation.
type place int

const (
	placesFull    place = iota // the server's limit is reached
	placeReserved              // reserved
	placeUnknown               // the server has yet to send its settings, with its limit, or does not read
	placeClosed                // the connection takes no more requests
)

// reserve reserves a place for a request. Before the server has sent its settings there
// is one place.
func (c *connection) reserve() place {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	used := len(c.answers) + c.reserved
	switch {
	case !c.acceptsRequests():
		c.closeIdle()
		return placeClosed
	case !c.settingsReceived && used > 0 || c.stalled:
		return placeUnknown
	case c.settingsReceived && used >= c.maxConcurrentStreams:
		return placesFull
	}
	c.reserved++
	if c.idle != nil {
		c.idle.Stop()
	}
	return placeReserved
}

// release gives a reserved place up.
func (c *connection) release() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reserved--
	c.placeFreed()
}

// placeFreed is called with the mutex held when a request has ended, or will not begin.
func (c *connection) placeFreed() {
	c.signal()
	if c.closeIdle(); c.spare && c.acceptsRequests() && len(c.answers)+c.reserved == 0 {
		c.idle = time.AfterFunc(spareIdleTimeout, c.closeSpare)
	}
}

// closeSpare closes the connection if it has no request.
func (c *connection) closeSpare() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.answers)+c.reserved == 0 {
		c.goingAway = true
		c.closeIdle()
	}
}

// acceptsRequests reports whether another request can begin once there is a place for it.
// The caller holds the mutex.
func (c *connection) acceptsRequests() bool {
	return c.failure == nil && !c.goingAway && c.nextStreamID <= streamMask
}

// closeIdle closes a connection that accepts no more requests and has none. The caller
// holds the mutex.
func (c *connection) closeIdle() {
	if !c.acceptsRequests() && len(c.answers)+c.reserved == 0 {
		_ = c.conn.Close() // run notices
	}
}
