package frames

import (
	"errors"
	"net"
	"os"
	"time"
)

// write writes whole frames, after the frames that are already queued.
func (c *connection) write(frames []byte) error {
	c.writeMutex.Lock()
	defer c.writeMutex.Unlock()
	c.out = append(c.out, frames...)
	return c.flush()
}

// respond writes frames in response to the server's frames.
func (c *connection) respond(frames []byte) { c.handleWriteError(c.write(frames)) }

// handleWriteError handles the result of a write. After an error, it lets run read the
// frames that the server has already sent, for at most closeTimeout.
func (c *connection) handleWriteError(err error) {
	if err != nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}

// flush writes the queued frames. If the server does not read them within writeTimeout,
// drain writes the rest in a goroutine, and no request begins until it is done. The caller
// holds writeMutex.
func (c *connection) flush() error {
	if len(c.out) == 0 || c.draining {
		return c.checkBacklog()
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.conn.Write(c.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.out = c.out[n:]
		c.draining = true
		c.setStalled(true)
		c.drains.Go(c.drain)
		return nil
	}
	if c.out = c.out[:0]; cap(c.out) > bufferMax {
		c.out = nil
	}
	return err
}

const (
	writeTimeout = 20 * time.Millisecond
	backlogLimit = 4 << 20 // maximum number of bytes queued for a server that does not read
)

// checkBacklog closes the connection if more than backlogLimit is queued, because the server
// sends frames without reading any.
func (c *connection) checkBacklog() error {
	if len(c.out) > backlogLimit {
		_ = c.conn.Close() // ends run
		return net.ErrClosed
	}
	return nil
}

// drain writes the queued frames that flush could not write in time.
func (c *connection) drain() {
	_ = c.conn.SetWriteDeadline(time.Time{})
	for {
		c.writeMutex.Lock()
		out := c.out
		c.out = nil
		c.draining = len(out) > 0
		c.writeMutex.Unlock()
		if len(out) == 0 {
			c.setStalled(false)
			return
		}
		if _, err := c.conn.Write(out); err != nil {
			c.handleWriteError(err)
			return
		}
	}
}

// setStalled records whether the server has stopped reading.
func (c *connection) setStalled(stalled bool) {
	c.mutex.Lock()
	c.stalled = stalled
	c.changed.Broadcast()
	c.mutex.Unlock()
	c.signal()
}
