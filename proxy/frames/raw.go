package frames

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// relayRaw relays a connection that is not HTTP/2. begun are the bytes already read from the
// client.
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

// relayHalf copies one direction until the source is closed or its read deadline expires. Then
// it closes the writing side of the destination. After any other error, it closes the
// destination.
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

// drainRaw shuts down a connection that is not HTTP/2. The read deadline ends the client's
// direction, which closes the writing side of the server's connection. The server can still
// answer until the timer of Drain closes the relay.
func (r *Relay) drainRaw() { _ = r.client.SetReadDeadline(time.Now()) }

// setRaw records that the connection is not HTTP/2.
func (r *Relay) setRaw() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.phase = raw
	if r.drain.requested {
		r.drainRaw()
	}
}
