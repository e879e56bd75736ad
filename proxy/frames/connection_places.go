package frames

import "time"

// place is the result of reserving a place. A place is one of the concurrent streams that
// the server allows on a connection.
type place int

const (
	placesFull    place = iota // the server's limit is reached
	placeReserved              // reserved
	placeUnknown               // the server has not sent its SETTINGS with the limit yet, or does not read
	placeClosed                // the connection accepts no more requests
)

// reserve reserves a place for a request. The connection has one place until the server has
// sent its SETTINGS.
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

// release frees a reserved place.
func (c *connection) release() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reserved--
	c.placeFreed()
}

// placeFreed is called when a request has ended or will not begin. The caller holds the
// mutex.
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

// acceptsRequests reports whether the connection can be used for another request, apart from
// the number of places. The caller holds the mutex.
func (c *connection) acceptsRequests() bool {
	return c.failure == nil && !c.goingAway && c.nextStreamID <= streamMask
}

// closeIdle closes the connection if it has no requests and accepts no more. The caller
// holds the mutex.
func (c *connection) closeIdle() {
	if !c.acceptsRequests() && len(c.answers)+c.reserved == 0 {
		_ = c.conn.Close() // ends run
	}
}
