package frames

import (
	"errors"
	"io"
	"net"
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

// relayHalf copies one direction, and passes on that it has ended.
func relayHalf(to, from net.Conn) error {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		return half.CloseWrite()
	}
	return errors.Join(err, to.Close())
}
