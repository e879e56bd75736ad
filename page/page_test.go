package page

import (
	"net"
	"strings"
	"testing"
)

// TestSearchesWaitForNoReader has a client that searches and does not read the result. The
// search of another client must not wait for it.
func TestSearchesWaitForNoReader(t *testing.T) {
	sources := healthySources()
	searched := make(chan struct{}, 2)
	sources.Ledger = func(text string, _ int) Names {
		searched <- struct{}{}
		return Names{Names: []Name{{Original: strings.Repeat(text, 8<<20)}}} // larger than the socket's buffers
	}
	_, server := serve(t, sources)
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if _, err := connection.Write([]byte("GET /ledger?q=x HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-searched
	server.Client().Timeout = testTimeout
	if _, body := ask(t, server, "/ledger?q=", unchanged); !strings.HasPrefix(body, `{"names":`) {
		t.Errorf("another client got %q", body)
	}
}
