package daemon

import (
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"image-cri-shim/unixsocket"
)

// TestCountCallTakesNoLock counts a call while a client connects. Calls of all clients must not
// wait for each other.
func TestCountCallTakesNoLock(t *testing.T) {
	clients, peer := connectedClients{}, unixsocket.Peer{Process: -1}
	clients.add(peer, 1)
	clients.mutex.Lock()
	defer clients.mutex.Unlock()
	counted := make(chan struct{})
	go func() {
		clients.countCall(peer)
		close(counted)
	}()
	select {
	case <-counted:
	case <-time.After(5 * time.Second):
		t.Fatal("the call waits for the lock")
	}
	if allocated := testing.AllocsPerRun(100, func() { clients.countCall(peer) }); allocated > 0 {
		t.Errorf("a call allocates memory %v times", allocated)
	}
}

// TestConnectedClientsAtOnce connects and counts from several goroutines. Only the clients that
// are still connected remain.
func TestConnectedClientsAtOnce(t *testing.T) {
	var (
		clients connectedClients
		working sync.WaitGroup
	)
	for process := range 8 {
		peer := unixsocket.Peer{Process: -1, User: process}
		clients.add(peer, 1)
		working.Go(func() {
			for range 1000 {
				clients.add(unixsocket.Peer{Process: -2, User: process / 2}, 1)
				clients.countCall(peer)
				clients.countCall(unixsocket.Peer{Process: -2, User: process / 2})
				clients.add(unixsocket.Peer{Process: -2, User: process / 2}, -1)
			}
		})
	}
	working.Wait()
	listed, more := clients.list()
	if len(listed) != 8 || more != 0 {
		t.Fatalf("%+v and %d more", listed, more)
	}
	for _, client := range listed {
		if client.Process != -1 || client.Connections != 1 || client.Calls != 1000 {
			t.Errorf("%+v", client)
		}
	}
}

func BenchmarkCountCall(b *testing.B) {
	var clients connectedClients
	peer := unixsocket.Peer{Process: 1}
	clients.add(peer, 1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			clients.countCall(peer)
		}
	})
}

// TestUnansweredConnection requires that a connection that ends before the client got anything
// is reported: on a runtime that accepts connections but does not answer, no call begins.
func TestUnansweredConnection(t *testing.T) {
	for _, test := range []struct {
		name    string
		answers bool
		want    int
	}{
		{"unanswered", false, 1},
		{"answered", true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "shim.sock"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			var clients connectedClients
			unanswered := 0
			listening := clientListener{listener, &clients, func() { unanswered++ }}
			client, err := net.Dial("unix", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			accepted, err := listening.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if test.answers {
				if _, err := accepted.Write([]byte("settings")); err != nil {
					t.Fatal(err)
				}
			}
			_ = accepted.Close()
			_ = accepted.Close()
			if unanswered != test.want {
				t.Errorf("%d connections reported, want %d", unanswered, test.want)
			}
		})
	}
}
