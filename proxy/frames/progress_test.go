package frames

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// load has a relay between a loadClient and a loadServer, which check flow control strictly.
type load struct {
	t      *testing.T
	client *loadClient
	server *loadServer
	relay  *Relay
}

// failWithoutProgress fails the test and closes the relay if the client receives no frame for
// testTimeout.
func (l *load) failWithoutProgress(ended <-chan struct{}) {
	ticker := time.NewTicker(testTimeout)
	defer ticker.Stop()
	for before := -1; ; {
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
		now := l.client.receivedFrames()
		if now == before {
			l.t.Errorf("no progress: %s", l.state())
			l.relay.Close()
			return
		}
		before = now
	}
}

// newLoad starts a relay and closes it at the end of the test. The test fails if the relay
// makes no progress.
func newLoad(t *testing.T, seed uint64, initial, late int) *load {
	t.Helper()
	client, clientSide := socketPair(t)
	serverSide, server := socketPair(t)
	l := &load{t: t, server: newLoadServer(t, server, seed)}
	l.relay = NewRelay(clientSide, serverSide, func(fields []hpack.HeaderField) Plan {
		switch Field(fields, ":path") {
		case "/intercepted":
			return Plan{Handler: answerSize}
		case "/restored":
			return Plan{Handler: answerSize, Decide: func(fields []hpack.HeaderField, _ []byte) *Restoration {
				return &Restoration{Fields: fields, Restore: restoreLoad}
			}}
		}
		return Plan{}
	})
	ran := make(chan error, 1)
	go func() { ran <- l.relay.Run() }()
	l.client = newLoadClient(t, client, initial, late)
	watched := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(watched)
		l.failWithoutProgress(ended)
	}()
	t.Cleanup(func() {
		close(ended)
		<-watched
		l.relay.Close()
		_ = await(t, "the return of Run", ran)
		_ = client.Close()
		_ = server.Close()
		l.client.read.Wait()
		l.server.running.Wait()
	})
	return l
}

func (l *load) state() string {
	l.relay.mutex.Lock()
	defer l.relay.mutex.Unlock()
	var streams string
	for id, s := range l.relay.relayed {
		streams += fmt.Sprintf(" %d: done %v, sending %v, %d queued", id, s.serverDone, s.sending, len(s.queue))
		if a := s.restoration; a != nil {
			streams += fmt.Sprintf(", collecting %v, %d, %+v", a.collecting, len(a.body), s.window)
		}
	}
	l.client.mutex.Lock()
	defer l.client.mutex.Unlock()
	for id, call := range l.client.calls {
		if !call.ended {
			streams += fmt.Sprintf(" client %d: window %d, unpaid %d, %d bytes", id, call.window, call.uncredited, len(call.body))
		}
	}
	l.server.mutex.Lock()
	defer l.server.mutex.Unlock()
	streams += fmt.Sprint(l.server.streams)
	return streams + fmt.Sprintf("%+v, %d relayed, %d intercepted, %d sending, %d bytes kept, the server's window is %d",
		l.relay.flow.toClient, len(l.relay.relayed), len(l.relay.intercepted), l.relay.sendingQueues, l.relay.buffered, l.server.window)
}

// restoreLoad appends a byte to an answer. For bodies of even length, it does so only in the
// call that may block.
func restoreLoad(_ context.Context, of Answered, mayBlock bool) (Restored, error) {
	body := of.Body
	if len(body)%2 == 0 && !mayBlock {
		return Restored{}, ErrWouldBlock
	}
	return Restored{Body: append(body[:len(body):len(body)], '!')}, nil
}

// answerSize is a handler that answers the body "N" with N bytes.
func answerSize(ctx context.Context, x *Exchange) {
	var text []byte
	for {
		b, err := x.Receive(ctx, 1)
		if err != nil {
			break
		}
		text = append(text, b...)
	}
	size, _ := strconv.Atoi(string(text))
	x.Header([]hpack.HeaderField{{Name: ":status", Value: "200"}})
	if x.Data(ctx, make([]byte, size)) == nil {
		_ = x.End([]hpack.HeaderField{{Name: "grpc-status", Value: "0"}})
	}
}

// expectAnswer waits for a call and checks its answer.
func (l *load) expectAnswer(id uint32, path string, size int) {
	l.t.Helper()
	call, err := l.client.wait(id)
	if err != nil {
		l.t.Fatalf("%s of %d bytes, stream %d: %v; %s", path, size, id, err, l.state())
	}
	want := map[string]string{"/relayed": answerOf(id, size), "/intercepted": string(make([]byte, size)), "/restored": answerOf(id, size)}[path]
	if path == "/restored" && size > 0 {
		want += "!"
	}
	if call.code != 0 || string(call.body) != want {
		l.t.Fatalf("%s of %d bytes, stream %d: %v and %d bytes", path, size, id, call.code, len(call.body))
	}
}

// expectWindows checks that the server's view of the connection window agrees with the
// client's once all frames have arrived.
func (l *load) expectWindows() {
	l.t.Helper()
	want := l.client.returnAllCredit(1)
	var got int
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = l.server.connectionWindow(); got == want {
			return
		}
	}
	l.t.Errorf("the server sees a window of %d, and the client one of %d: %s", got, want, l.state())
}

// Many concurrent answers of all kinds reach clients with windows of any size.
func TestProgress(t *testing.T) {
	for _, test := range []struct{ window, late, calls, size int }{
		{1, 0, 10, 300},
		{255, 0, 10, 20_000},
		{255, 127, 30, 5_000},
		{16_383, 8_000, 10, 200_000},
		{65_535, 0, 10, 200_000},
		{65_535, 32_767, 8, 200_000}, // grpc-js with the windows of Node.js
		{13_107, 6_000, 5, 200_000},  // together as large as the connection's window
		{65_535, 32_767, 100, 300_000},
		{1 << 20, 1 << 15, 8, 200_000}, // only the connection's window limits
	} {
		for _, paths := range [][]string{{"/restored"}, {"/restored", "/relayed", "/intercepted"}} {
			t.Run(fmt.Sprintf("%d answers of %d at %d for %d kinds", test.calls, test.size, test.window, len(paths)), func(t *testing.T) {
				t.Parallel()
				l := newLoad(t, 1, test.window, test.late)
				for i := range test.calls {
					l.client.begin(uint32(2*i+1), paths[i%len(paths)], strconv.Itoa(test.size))
				}
				for i := range test.calls {
					l.expectAnswer(uint32(2*i+1), paths[i%len(paths)], test.size)
				}
				l.expectWindows()
			})
		}
	}
}

// A client with random windows changes them and cancels calls. All other calls end, and the
// windows at the end are the same as without the relay.
func TestProgressOfRandomCalls(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			windows := []int{1, 5, 255, 1000, 13_107, 16_383, 16_384, 65_535, 1 << 20}
			window := windows[random.IntN(len(windows))]
			l := newLoad(t, seed, window, lateness(random, window))
			type call struct {
				path      string
				size      int
				cancelled bool
			}
			paths := []string{"/relayed", "/intercepted", "/restored", "/restored"}
			calls := map[uint32]call{}
			var open []uint32
			for id := uint32(1); id < 80; id += 2 {
				c := call{path: paths[random.IntN(len(paths))], size: random.IntN(min(300*window, 200_000))}
				l.client.begin(id, c.path, strconv.Itoa(c.size))
				calls[id] = c
				open = append(open, id)
				switch random.IntN(8) {
				case 0:
					window = windows[random.IntN(len(windows))]
					l.client.setInitial(max(window, c.size/300))
				case 1:
					at := open[random.IntN(len(open))]
					c := calls[at]
					c.cancelled = true
					calls[at] = c
					l.client.cancel(at)
				case 2, 3, 4:
					if c := calls[open[0]]; !c.cancelled {
						l.expectAnswer(open[0], c.path, c.size)
					}
					open = open[1:]
				}
				if len(open) == 0 {
					open = append(open, id)
				}
			}
			for id, c := range calls {
				if !c.cancelled {
					l.expectAnswer(id, c.path, c.size)
				}
			}
			l.expectWindows()
			l.expectNothingKept()
		})
	}
}

func (l *load) expectNothingKept() {
	l.t.Helper()
	eventually(l.t, "the release of all requests", func() bool {
		l.relay.mutex.Lock()
		defer l.relay.mutex.Unlock()
		return l.relay.buffered == 0 && l.relay.flow.toClient.held == 0 && l.relay.sendingQueues == 0 && len(l.relay.relayed) == 0
	})
}

// Many large answers for a slow client use no more memory than the limit of one connection.
func TestMemoryOfRestoredAnswers(t *testing.T) {
	l := newLoad(t, 1, 65_535, 0)
	const calls, size = 60, 8 << 20
	var most int
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			l.relay.mutex.Lock()
			most = max(most, l.relay.buffered)
			l.relay.mutex.Unlock()
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	for i := range calls {
		l.client.begin(uint32(2*i+1), "/restored", strconv.Itoa(size))
	}
	restored := 0
	for i := range calls {
		call, err := l.client.wait(uint32(2*i + 1))
		if err != nil || call.code != 0 || len(call.body) < size {
			t.Fatalf("call %d failed: %v; %s", i, err, l.state())
		}
		restored += len(call.body) - size
	}
	close(done)
	<-watched
	if most > bufferLimit+defaultWindow {
		t.Errorf("%d bytes were buffered, more than the limit", most)
	}
	if restored < calls/2 {
		t.Errorf("%d of %d answers were restored", restored, calls)
	}
	l.expectWindows()
	l.expectNothingKept()
}
