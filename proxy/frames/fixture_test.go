package frames

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture has a relay between a client and a server. A test sends and expects the frames of
// both. Requests with a path that begins with /intercepted are intercepted.
type fixture struct {
	t              *testing.T
	client, server *peer
	relay          *Relay
	handler        Handler // answers intercepted requests
	result         chan error
	restore        Restorer // restores the answers of /intercepted/restored; nil for double
	unchanged      func(beginning []byte) bool
	skipped        atomic.Int64

	mutex    sync.Mutex
	outcomes []Outcome
	watched  [2][]byte // bodies of relayed requests and their answers, by side
}

// newFixture starts a relay. At the end of the test, it closes the relay and checks that no
// goroutine is left.
func newFixture(t *testing.T, handler Handler) *fixture {
	t.Helper()
	return newFixtureOver(t, handler, func(client net.Conn) net.Conn { return client })
}

// newFixtureOver is like newFixture. wrap returns the relay's connection to the client.
func newFixtureOver(t *testing.T, handler Handler, wrap func(client net.Conn) net.Conn) *fixture {
	t.Helper()
	before := goleak.IgnoreCurrent()
	r := &fixture{t: t, handler: handler, result: make(chan error, 1)}
	client, clientSide := socketPair(t)
	serverSide, server := socketPair(t)
	r.client, r.server = newPeer(t, "client", client), newPeer(t, "server", server)
	r.relay = NewRelay(wrap(clientSide), serverSide, r.route)
	go func() { r.result <- r.relay.Run() }()
	t.Cleanup(func() {
		r.relay.Close()
		_ = await(t, "the return of Run", r.result)
		_ = client.Close()
		_ = server.Close()
		if err := goleak.Find(before); err != nil {
			t.Errorf("goroutines still run: %v", err)
		}
	})
	return r
}

// route plans requests by their path. /intercepted/restored is relayed once its body is
// complete (Plan.Restore), and /relayed/restored is relayed at once (Plan.Restoration). The
// answers of both are restored, by double unless a test sets another restorer. Other paths
// that begin with /intercepted get the handler.
func (r *fixture) route(fields []hpack.HeaderField) Plan {
	path := Field(fields, ":path")
	plan := Plan{Watch: r.watch, Ended: r.recordOutcome, Unbounded: path == "/intercepted/unbounded"}
	if path == "/relayed/restored" {
		plan.Restoration = r.restoration(slices.Clone(fields), nil)
	}
	if strings.HasPrefix(path, "/intercepted") {
		plan.Handler = r.handler
		if path == "/intercepted/restored" {
			plan.Decide = r.restoration
		}
	}
	return plan
}

func (r *fixture) restoration(fields []hpack.HeaderField, body []byte) *Restoration {
	if string(body) == "no" {
		return nil
	}
	restoration := &Restoration{Fields: fields, Restore: double, Unchanged: r.unchanged, Skipped: func() { r.skipped.Add(1) }}
	if r.restore != nil {
		restoration.Restore = r.restore
	}
	return restoration
}

// double restores an answer to the request's body, the field "mark" and twice the answer's
// body.
func double(_ context.Context, of Answered, _ bool) (Restored, error) {
	return Restored{Body: fmt.Appendf(nil, "%s%s%s%s", of.Request, Field(of.Header, "mark"), of.Body, of.Body)}, nil
}

func (r *fixture) watch(from Side, piece []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.watched[from] = append(r.watched[from], piece...)
}

// expectWatched waits until Plan.Watch has been called with these bodies of relayed requests
// and of their answers.
func (r *fixture) expectWatched(requests, answers string) {
	r.t.Helper()
	eventually(r.t, "the bodies in Plan.Watch", func() bool {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		return string(r.watched[FromClient]) == requests && string(r.watched[FromServer]) == answers
	})
}

func (r *fixture) recordOutcome(outcome Outcome) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.outcomes = append(r.outcomes, outcome)
}

// expectOutcome waits until the next request has ended, and checks its outcome.
func (r *fixture) expectOutcome(end End, code http2.ErrCode) {
	r.t.Helper()
	var outcome Outcome
	eventually(r.t, "the end of a request", func() bool {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if len(r.outcomes) == 0 {
			return false
		}
		outcome, r.outcomes = r.outcomes[0], r.outcomes[1:]
		return true
	})
	if outcome.End != end || outcome.Code != code {
		r.t.Errorf("the request ended with %d and %v, want %d and %v", outcome.End, outcome.Code, end, code)
	}
}

// open exchanges the connection prefaces of both sides. settings are the client's.
func (r *fixture) open(clients ...http2.Setting) *fixture {
	r.t.Helper()
	r.client.send([]byte(http2.ClientPreface))
	r.client.settings(clients...)
	r.server.readPreface()
	r.server.read()
	r.server.settings()
	r.server.acknowledge()
	r.client.expect("SETTINGS", "SETTINGS ack")
	r.client.acknowledge()
	r.server.expect("SETTINGS ack")
	return r
}

func (p *peer) readPreface() {
	p.t.Helper()
	preface := make([]byte, len(http2.ClientPreface))
	for n := 0; n < len(preface); {
		read, err := p.conn.Read(preface[n:])
		if err != nil {
			p.t.Fatalf("the %s failed to read the preface: %v", p.name, err)
		}
		n += read
	}
	if string(preface) != http2.ClientPreface {
		p.t.Fatalf("the %s got the preface %q", p.name, preface)
	}
}

// syncPeers checks that no unexpected frame is in flight to either side. When it returns, the
// relay has handled all earlier frames.
func (r *fixture) syncPeers() {
	r.t.Helper()
	r.client.send(frameOf(0xfa, 0, 0, "settled"))
	r.server.expect(`0xfa 0 flags=0 "settled"`)
	r.server.send(frameOf(0xfa, 0, 0, "settled"))
	r.client.expect(`0xfa 0 flags=0 "settled"`)
}

// changeSettings sends SETTINGS from one side, and the acknowledgement from the other.
func (r *fixture) changeSettings(from *peer, settings ...http2.Setting) {
	r.t.Helper()
	to := r.client
	if from == r.client {
		to = r.server
	}
	from.settings(settings...)
	to.read()
	to.acknowledge()
	from.expect("SETTINGS ack")
}

// relayCall sends a relayed request from the client and its answer from the server.
func (r *fixture) relayCall(id uint32) {
	r.t.Helper()
	r.client.request(id, "/relayed", true)
	r.server.expectRequest(id, "/relayed", true)
	r.server.headers(id, false, ":status=200", "content-type=application/grpc")
	r.server.data(id, false, "answer")
	r.server.headers(id, true, "grpc-status=0")
	r.client.expect(headersLine(id, false, ":status=200", "content-type=application/grpc"),
		dataLine(id, false, "answer"), headersLine(id, true, "grpc-status=0"))
}

// buffered returns the number of open requests and of buffered bytes.
func (r *fixture) buffered() (requests, bodies int) {
	r.relay.mutex.Lock()
	defer r.relay.mutex.Unlock()
	return len(r.relay.relayed) + len(r.relay.intercepted), r.relay.buffered
}

// ends waits for the relay to end.
func (r *fixture) waitEnd() error {
	r.t.Helper()
	err := await(r.t, "the return of Run", r.result)
	r.result <- err // for the cleanup of newFixture
	return err
}

// answerWith returns a handler that reads the complete request and answers with data.
func answerWith(data string) Handler {
	return func(ctx context.Context, x *Exchange) {
		for {
			if _, err := x.Receive(ctx, 1); err != nil {
				break
			}
		}
		x.Header([]hpack.HeaderField{{Name: ":status", Value: "200"}})
		if x.Data(ctx, []byte(data)) == nil {
			_ = x.End([]hpack.HeaderField{{Name: "grpc-status", Value: "0"}})
		}
	}
}

// expectAnswer expects an answer of answerWith, with its body in one DATA frame.
func (p *peer) expectAnswer(id uint32, data string) {
	p.t.Helper()
	p.expect(headersLine(id, false, ":status=200"), dataLine(id, false, data), headersLine(id, true, "!grpc-status=0"))
}

// socketPair returns the two ends of a connection over a unix socket.
func socketPair(t *testing.T) (dialled, accepted *net.UnixConn) {
	t.Helper()
	listener, err := net.Listen("unix", temporarySocket(t))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	one, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return one.(*net.UnixConn), other.(*net.UnixConn)
}

// temporarySocket returns a path that is short enough for a unix socket (108 bytes).
func temporarySocket(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "frames")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return filepath.Join(folder, "test.sock")
}

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %v waiting for: %s", testTimeout, what)
		}
	}
}

// await returns the next value of a channel, or the zero value once it is closed.
func await[T any](t *testing.T, what string, channel <-chan T) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(testTimeout):
		t.Fatalf("timed out after %v waiting for: %s", testTimeout, what)
		var none T
		return none
	}
}
