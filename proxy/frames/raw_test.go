package frames

import "testing"

// Drain ends an idle connection that is not HTTP/2. The relay closes the writing side of the
// server's connection, and the server can still answer until pingTimeout.
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
	await(t, "Drained", r.relay.Drained())
}

// If the server does not close such a connection, the relay does so after pingTimeout.
func TestDrainOfRawConnectionThatStays(t *testing.T) {
	r := newFixture(t, nil)
	r.relay.Drain() // before the protocol is known
	r.client.send([]byte("GET / HTTP/1.1\r\n\r\n"))
	r.client.expectEnd()
	_ = r.waitEnd()
}

// expectEnd checks that the connection ends without further data.
func (p *peer) expectEnd() {
	p.t.Helper()
	if n, err := p.conn.Read(make([]byte, 100)); n != 0 || !isDisconnect(err) {
		p.t.Fatalf("the %s read %d bytes, %v, want the end", p.name, n, err)
	}
}
