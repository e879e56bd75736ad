package frames

import "testing"

// A connection of another protocol that is idle does not hold a restart up: its server
// learns that the client sends nothing more, and may still answer for a moment.
func TestDrainOfRawConnection(t *testing.T) {
	r := newFixture(t, nil)
	r.client.send([]byte("GET / HTTP/1.1\r\n\r\n"))
	buffer := make([]byte, 100)
	n, err := r.server.conn.Read(buffer)
	if err != nil || string(buffer[:n]) != "GET / HTTP/1.1\r\n\r\n" {
		t.Fatalf("the server read %q, %v", buffer[:n], err)
	}
	r.relay.Drain()
	if n, err := r.server.conn.Read(buffer); n != 0 || !isDisconnect(err) {
		t.Fatalf("the server read %q, %v, want the end", buffer[:n], err)
	}
	r.server.send([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	if n, err = r.client.conn.Read(buffer); err != nil || string(buffer[:n]) != "HTTP/1.1 200 OK\r\n\r\n" {
		t.Fatalf("the client read %q, %v", buffer[:n], err)
	}
	_ = r.server.conn.Close()
	_ = r.waitEnd()
	await(t, "it has drained", r.relay.Drained())
}

// A server that does not end such a connection is left after a moment.
func TestDrainOfRawConnectionThatStays(t *testing.T) {
	r := newFixture(t, nil)
	r.relay.Drain() // before the protocol is known
	r.client.send([]byte("GET / HTTP/1.1\r\n\r\n"))
	r.client.expectEnd()
	_ = r.waitEnd()
}

// expectEnd waits for the end of the connection.
func (p *peer) expectEnd() {
	p.t.Helper()
	if n, err := p.conn.Read(make([]byte, 100)); n != 0 || !isDisconnect(err) {
		p.t.Fatalf("the %s read %d bytes, %v, want the end", p.name, n, err)
	}
}
