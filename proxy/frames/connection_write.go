package frames

import (
	"errors"
	"net"
	"os"
	"time"
)

// write writes whole frames, after those that were queued before.
func (c *connection) write(frames []byte) error {
	c.writeMutex.Lock()
	defer c.writeMutex.Unlock()
	c.out = append(c.out, frames...)
	return c.flush()
}

// respond writes an answer to the server's frames.
func (c *connection) respond(frames []byte) { c.handleWriteError(c.write(frames)) }

// handleWriteError is called with the result of a write that answers the server's frames.
// After an error the reader still gets the frames that the server has sent before.
func (c *connection) handleWriteError(err error) {
	if err != nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}

// flush is called with the writing lock held. It does not wait for a server that does not
// read: what is left is written by drain, and no request begins until then.
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
	backlogLimit = 4 << 20 // of what a server does not read, in bytes
)

// checkBacklog bounds what is kept for a server that sends and does not read.
func (c *connection) checkBacklog() error {
	if len(c.out) > backlogLimit {
		_ = c.conn.Close() // run notices
		return net.ErrClosed
	}
	return nil
}

// drain writes what a server has not taken in time.
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

// setStalled notes whether the server has stopped reading.
func (c *connection) setStalled(stalled bool) {
	c.mutex.Lock()
	c.stalled = stalled
	c.changed.Broadcast()
	c.mutex.Unlock()
	c.signal()
}
