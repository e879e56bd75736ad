package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// finishedCalls is an observer that sends finished calls to a channel.
type finishedCalls chan proxy.Call

func (finishedCalls) Begin(*proxy.Call) proxy.Tap { return nil }
func (r finishedCalls) End(call *proxy.Call)      { r <- *call }

// recordingObserver records the messages of all calls.
type recordingObserver struct {
	wanted int // bytes of each message

	mutex sync.Mutex
	begun map[uint64]proxy.Call
	ended chan proxy.Call
	seen  map[uint64][]string // by call
}

func newRecordingObserver(wanted int) *recordingObserver {
	return &recordingObserver{wanted: wanted, begun: map[uint64]proxy.Call{}, ended: make(chan proxy.Call, 100), seen: map[uint64][]string{}}
}

func (l *recordingObserver) Begin(call *proxy.Call) proxy.Tap {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.begun[call.ID] = *call
	return recordingTap{l, call.ID}
}

func (l *recordingObserver) End(call *proxy.Call) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if begun, ok := l.begun[call.ID]; !ok || begun.Method != call.Method || begun.Client != call.Client || begun.Start != call.Start {
		call.Method = fmt.Sprintf("%+v, begun as %+v", call, begun)
	}
	delete(l.begun, call.ID)
	l.ended <- *call
}

// open returns the number of calls that have begun and not ended.
func (l *recordingObserver) open() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.begun)
}

// messages returns the messages of a call, requests (>) before responses (<).
func (l *recordingObserver) messages(id uint64) []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Sorted(slices.Values(l.seen[id]))
}

type recordingTap struct {
	*recordingObserver
	id uint64
}

func (l recordingTap) note(from proxy.Side, text string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.seen[l.id] = append(l.seen[l.id], [...]string{"> ", "< "}[from]+text)
}

// Wants skips messages of three bytes.
func (l recordingTap) Wants(from proxy.Side, length int) int {
	if length == 3 {
		l.note(from, "unwanted")
		return 0
	}
	return l.wanted
}

func (l recordingTap) Message(from proxy.Side, message []byte, length int, compressed bool) {
	if compressed {
		message = []byte("compressed")
		length = len(message)
	}
	l.note(from, fmt.Sprintf("%s of %d", message, length))
}

// observable returns interceptors of one method each.
var observable = struct{ unary, stream, pass, refuse string }{
	"/conformance.v1.Other/Unary", "/conformance.v1.Other/Stream", "/conformance.v1.Other/Pass", "/conformance.v1.Other/Refuse",
}

func observableInterceptors(of chan<- *proxy.Call) intercept.Interceptors {
	double := func(response []byte) []byte { return slices.Concat(response, response) }
	doubled := func(method string) intercept.Unary {
		return func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
			of <- proxy.CallOf(ctx)
			response, err := invoke(ctx, method, request)
			return double(response), err
		}
	}
	return intercept.Interceptors{
		Unary: map[string]intercept.Unary{
			observable.unary: doubled(observable.unary),
			observable.pass:  doubled(observable.pass),
			observable.refuse: func(context.Context, []byte, intercept.Invoke) ([]byte, error) {
				return nil, status.Error(codes.NotFound, "refused")
			},
		},
		Stream: map[string]intercept.Stream{
			observable.stream: func(ctx context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
				of <- proxy.CallOf(ctx)
				return request, func(message []byte) ([]byte, error) { return double(message), nil }, nil
			},
		},
		Pass: map[string]intercept.Pass{
			observable.pass: func([]byte) (intercept.Restore, bool) {
				return func(ctx context.Context, response []byte, _ intercept.Invoke) []byte {
					of <- proxy.CallOf(ctx)
					return double(response)
				}, true
			},
		},
	}
}

// For every outcome of a call, its messages are reported as the client sends and receives them,
// and its bytes are counted.
func TestMessagesAreShown(t *testing.T) {
	within := make(chan *proxy.Call, 1)
	l := newRecordingObserver(8)
	options := proxy.Options{Observer: l, Interceptors: observableInterceptors(within)}
	long := strings.Repeat("long", 20_000) // of several frames
	forEachRunningEngine(t, options, func(t *testing.T, s *fixture, _ *runningEngine) {
		await(t, "the first call is reported", l.ended)
		for _, test := range []struct {
			method, request string
			want            []string
		}{
			{method, "ask", []string{"< unwanted", "> unwanted"}},
			{method, "asked", []string{"< asked of 5", "> asked of 5"}},
			{method, "", []string{"<  of 0", ">  of 0"}},
			{method, long, []string{"< longlong of 80000", "> longlong of 80000"}},
			{observable.unary, "asked", []string{"< askedask of 10", "> asked of 5"}},
			{observable.stream, "asked", []string{"< askedask of 10", "> asked of 5"}},
			{observable.pass, "asked", []string{"< askedask of 10", "> asked of 5"}},
			{observable.refuse, "asked", []string{"> asked of 5"}},
		} {
			s.runtime.Handle(test.method, echo)
			response, err := proxytest.Invoke(s.ctx, s.client(), test.method, []byte(test.request))
			call := await(t, "the call is reported", l.ended)
			if call.Method != test.method || call.Code != status.Code(err) || call.Client.Process != os.Getpid() || call.Client.User != os.Getuid() {
				t.Errorf("%s: reported as %+v, the client got %v", test.method, call, err)
			}
			if got := l.messages(call.ID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %q was shown, want %q", test.method, got, test.want)
			}
			requests, responses := int64(5+len(test.request)), int64(0)
			if err == nil {
				responses = int64(5 + len(response))
			}
			if call.Requests.Bytes != requests || call.Responses.Bytes != responses {
				t.Errorf("%s: %d bytes asked and %d answered, want %d and %d", test.method, call.Requests.Bytes, call.Responses.Bytes, requests, responses)
			}
			if test.method != method && test.method != observable.refuse {
				if of := await(t, "an interceptor has been called", within); of == nil || of.ID != call.ID || of.Method != call.Method {
					t.Errorf("%s: the interceptor's call was %+v", test.method, of)
				}
			}
		}
		if l.open() != 0 {
			t.Errorf("%d calls have begun and not ended", l.open())
		}
	})
}

// The messages of a stream are reported as they arrive, even if the client has not half-closed.
func TestMessagesOfStreamsAreShown(t *testing.T) {
	l := newRecordingObserver(1 << 20)
	forEachRunningEngine(t, proxy.Options{Observer: l}, func(t *testing.T, s *fixture, _ *runningEngine) {
		await(t, "the first call is reported", l.ended)
		s.handle(echo)
		stream := s.open(s.ctx)
		var want []string
		for i := range 20 {
			message := strings.Repeat(fmt.Sprint(i), 1000*(i+1))
			stream.send([]byte(message))
			stream.expect(message)
			want = append(want, fmt.Sprintf("> %s of %d", message, len(message)), fmt.Sprintf("< %s of %d", message, len(message)))
		}
		slices.Sort(want)
		l.mutex.Lock()
		var id uint64
		for id = range l.begun {
		}
		l.mutex.Unlock()
		if got := l.messages(id); !slices.Equal(got, want) {
			t.Errorf("%d messages were shown, want %d", len(got), len(want))
		}
		stream.closeSend()
		stream.expectEnd()
		if call := await(t, "the call is reported", l.ended); call.ID != id || call.Requests != call.Responses {
			t.Errorf("reported as %+v", call)
		}
	})
}

// Compressed messages are reported as compressed, or decompressed.
func TestCompressedMessagesAreShown(t *testing.T) {
	l := newRecordingObserver(1 << 20)
	forEachRunningEngine(t, proxy.Options{Observer: l}, func(t *testing.T, s *fixture, _ *runningEngine) {
		await(t, "the first call is reported", l.ended)
		s.handle(echo)
		if _, err := s.invoke(s.ctx, bytes.Repeat([]byte("a"), 100), grpc.UseCompressor(gzip.Name)); err != nil {
			t.Fatal(err)
		}
		call := await(t, "the call is reported", l.ended)
		plain := strings.Repeat("a", 100) + " of 100"
		for i, message := range l.messages(call.ID) {
			mark := [...]string{"< ", "> "}[i]
			if message != mark+plain && message != mark+"compressed of 10" {
				t.Errorf("%s was shown", message)
			}
		}
		if len(l.messages(call.ID)) != 2 {
			t.Errorf("%d messages were shown", len(l.messages(call.ID)))
		}
	})
}

// A call that the client cancels while its answer is ready is reported as canceled.
func TestObserverOfLateAnswer(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		asked := make(chan struct{}, 1)
		ended := make(finishedCalls, 10)
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket(), Observer: ended, Interceptors: unary(
			func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
				response, err := invoke(ctx, method, request)
				asked <- struct{}{}
				<-ctx.Done()
				return response, err
			})})
		engine.awaitRuntime(t)
		runtime.Handle(method, func(stream grpc.ServerStream) error {
			if err := stream.SendHeader(sample("header")); err != nil {
				return err
			}
			return echo(stream)
		})
		client, err := proxytest.Dial(engine.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() {
			_, err := proxytest.Invoke(ctx, client, method, []byte("hi"))
			answered <- err
		}()
		await(t, "the runtime has answered", asked)
		cancel()
		if err := await(t, "the call ends", answered); status.Code(err) != codes.Canceled {
			t.Errorf("the client got %v", err)
		}
		if call := await(t, "the call is reported", ended); call.Code != codes.Canceled {
			t.Errorf("reported as %v: %v", call.Code, call.Err)
		}
	})
}
