package frames

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// relayRaw relays a connection of another protocol, which has begun with some bytes.
func (r *Relay) relayRaw(begun []byte) error {
	r.writeServer(begun)
	down := make(chan error, 1)
	go func() { down <- relayHalf(r.client, r.server) }()
	err := relayHalf(r.server, r.client)
	if err != nil {
		r.fail(err)
	}
	return errors.Join(err, <-down)
}

// relayHalf copies one direction until its sender ends it or is no longer read, and passes
// that end on.
func relayHalf(to, from net.Conn) error {
	_, err := io.Copy(to, from)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		return half.CloseWrite()
	}
	return errors.Join(err, to.Close())
}

// drainRaw ends a connection of another protocol: the server learns that the client sends
// nothing more, and has until the relay's timer ends it to answer what it was sent.
func (r *Relay) drainRaw() { _ = r.client.SetReadDeadline(time.Now()) }

// setRaw notes that the connection is of another protocol than HTTP/2.
func (r *Relay) setRaw() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.phase = raw
	if r.drain.requested {
		r.drainRaw()
	}
}
