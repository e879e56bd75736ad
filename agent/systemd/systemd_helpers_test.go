package systemd

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"
)

const (
	managerPath      = "/org/freedesktop/systemd1"
	managerInterface = "org.freedesktop.systemd1.Manager"
)

// testSystemd is a systemd that finishes all jobs at once.
type testSystemd struct {
	mutex       sync.Mutex
	connections []*bus.Conn
	started     []string // units
	onStart     func(number int) (finish bool)
}

// newTestSystemd returns a systemd and a Manager that is connected to it.
func newTestSystemd(t *testing.T) (*testSystemd, *Manager) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "private")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &testSystemd{onStart: func(int) bool { return true }}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			accepted, err := listener.Accept()
			if err != nil {
				return
			}
			s.serve(accepted)
		}
	}()
	m := &Manager{dial: func(ctx context.Context) (*dbus.Conn, error) {
		return dbus.NewConnection(func() (*bus.Conn, error) {
			connection, err := bus.Dial("unix:path="+socket, bus.WithContext(ctx))
			if err == nil {
				err = connection.Auth(nil)
			}
			return connection, err
		})
	}}
	t.Cleanup(func() {
		m.Close()
		_ = listener.Close()
		<-ended
		s.drop()
	})
	return s, m
}

// serve authenticates a client and serves the manager's object.
func (s *testSystemd) serve(accepted net.Conn) {
	client := &authenticated{Conn: accepted, reader: bufio.NewReader(accepted), answers: strings.NewReader("REJECTED EXTERNAL\r\nOK 0\r\n")}
	for {
		line, err := client.reader.ReadString('\n')
		if err != nil {
			return
		}
		answer := "ERROR\r\n"
		switch command := strings.Trim(line, "\x00\r\n"); {
		case command == "AUTH":
			answer = "REJECTED EXTERNAL\r\n"
		case strings.HasPrefix(command, "AUTH EXTERNAL"):
			answer = "OK 0\r\n"
		case command == "BEGIN":
			answer = ""
		}
		if answer == "" {
			break
		}
		_, _ = io.WriteString(accepted, answer)
	}
	connection, err := bus.NewConn(client)
	if err == nil {
		err = connection.Auth([]bus.Auth{bus.AuthExternal("0")})
	}
	if err == nil {
		err = connection.Export(s, managerPath, managerInterface)
	}
	if err == nil {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.connections = append(s.connections, connection)
	}
}

// authenticated is a connection that has been authenticated. It answers to the same again.
type authenticated struct {
	net.Conn
	reader  *bufio.Reader
	answers *strings.Reader
	begun   bool
}

func (a *authenticated) Read(p []byte) (int, error) {
	if a.answers.Len() > 0 {
		return a.answers.Read(p)
	}
	return a.reader.Read(p)
}

func (a *authenticated) Write(p []byte) (int, error) {
	if a.begun {
		return a.Conn.Write(p)
	}
	a.begun = strings.HasPrefix(string(p), "BEGIN")
	return len(p), nil
}

// drop ends all connections, as systemctl daemon-reexec does.
func (s *testSystemd) drop() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, connection := range s.connections {
		_ = connection.Close()
	}
	s.connections = nil
}

// again sets the function for the next starts.
func (s *testSystemd) again(onStart func(number int) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.started, s.onStart = nil, onStart
}

// StartUnit implements the method of systemd.
func (s *testSystemd) StartUnit(unit, _ string) (bus.ObjectPath, *bus.Error) {
	s.mutex.Lock()
	s.started = append(s.started, unit)
	number, onStart := len(s.started), s.onStart
	s.mutex.Unlock()
	job := bus.ObjectPath(managerPath + "/job/1")
	if onStart(number) {
		go func() {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			for _, connection := range s.connections {
				_ = connection.Emit(managerPath, managerInterface+".JobRemoved", uint32(1), job, unit, "done")
			}
		}()
	}
	return job, nil
}

// Reload implements the method of systemd.
func (s *testSystemd) Reload() *bus.Error { return nil }
