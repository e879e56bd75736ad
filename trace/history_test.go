package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const pullImage = "/runtime.v1.ImageService/PullImage"

// past returns the events that the hub keeps.
func (f *fixture) past(filter Filter) []Event {
	f.Helper()
	past, err := f.hub.Past(time.Time{}, filter)
	if err != nil {
		f.Fatal(err)
	}
	return decodeLines(f.T, past.Lines)
}

func decodeLines(t *testing.T, lines [][]byte) []Event {
	t.Helper()
	events := make([]Event, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

// TestHistory looks back at calls that ended before the first reader.
func TestHistory(t *testing.T) {
	f := newFixture(t)
	if _, err := f.hub.Past(time.Time{}, Filter{}); !errors.Is(err, ErrNoHistory) {
		t.Errorf("without a buffer: %v", err)
	}
	if _, _, err := f.hub.SubscribeSince(t.Context(), time.Time{}, Filter{}, false); !errors.Is(err, ErrNoHistory) {
		t.Errorf("without a buffer: %v", err)
	}
	f.call(v1+"Version", &runtime.VersionRequest{}, &runtime.VersionResponse{}) // before the buffer
	f.hub.SetBuffer(MinBuffer)
	call, tap := f.begin(pullImage)
	if tap != nil {
		t.Error("a tap without a reader: messages are read")
	}
	decision := Decision{Asked: "nginx", Served: "hub:5000/library/nginx", Registry: "http://hub:5000", Reason: "found", Namespace: "team", Pod: "web"}
	f.hub.ObserveDecision(call.ID, decision)
	f.hub.ObserveDecision(call.ID+1, Decision{Asked: "another"})
	f.hub.End(call, Result{Duration: 2 * time.Second, Code: codes.NotFound, Err: errors.New("secret"), RequestBytes: 3, ResponseBytes: 4})
	f.hub.ObserveDecision(call.ID, decision) // too late
	f.call(v1+"Version", &runtime.VersionRequest{}, &runtime.VersionResponse{})

	all := f.past(Filter{})
	if len(all) != 2 {
		t.Fatalf("got %+v", all)
	}
	name := all[0].Client.Name
	want := Event{
		Version: 1, Kind: KindCall, Time: time.Unix(1000, 0).UTC(), ID: 2, Client: &Client{Process: os.Getpid(), User: 5, Name: name}, Method: pullImage,
		Seconds: 2, Code: "NotFound", RequestBytes: 3, ResponseBytes: 4, Pod: "team/web", Decisions: []Decision{decision},
	}
	if got, expected := encode(all[0]), encode(want); name == "" || !bytes.Equal(got, expected) {
		t.Errorf("got %s, want %s", got, expected)
	}
	if len(f.hub.history.running) != 0 {
		t.Errorf("%v is kept for ended calls", f.hub.history.running)
	}
	for i, filter := range []Filter{{Errors: true}, {Images: []string{"hub:5000"}}, {Namespaces: []string{"team"}}, {NotMethods: []string{"Version"}}, {Slower: time.Second}} {
		if got := f.past(filter); len(got) != 1 || got[0].ID != 2 {
			t.Errorf("filter %d: %+v", i, got)
		}
	}
	// Calls count by their end: 1002 for the pull, 1001 for Version.
	for start, want := range map[int64]int{1001: 2, 1002: 1, 1003: 0} {
		past, err := f.hub.Past(time.Unix(start, 0), Filter{})
		if err != nil || len(past.Lines) != want {
			t.Errorf("since %d: %d calls, %v, want %d", start, len(past.Lines), err, want)
		}
	}
}

// TestHistoryIsComplete checks from which time on a look back has all calls.
func TestHistoryIsComplete(t *testing.T) {
	f := newFixture(t)
	since := func(start time.Time) time.Time {
		t.Helper()
		past, err := f.hub.Past(start, Filter{Errors: true})
		if err != nil {
			t.Fatal(err)
		}
		return past.Since
	}
	before := time.Now()
	f.hub.SetBuffer(MinBuffer)
	if got := since(before.Add(-time.Hour)); got.Before(before) || got.After(time.Now()) {
		t.Errorf("an empty buffer is complete since %s, want the time it was set", got)
	}
	later := time.Now().Add(time.Hour)
	if got := since(later); !got.Equal(later) {
		t.Errorf("got %s, want %s", got, later)
	}
	for i := range 1000 { // more than the buffer holds
		call := Call{ID: uint64(i), Method: v1 + "Version", Start: later.Add(time.Duration(i) * time.Second)}
		f.hub.Begin(call)
		f.hub.End(call, Result{Duration: time.Second})
	}
	oldest := f.past(Filter{})[0].Time.Add(time.Second)
	if got := since(later); !got.Equal(oldest) || !oldest.After(later.Add(time.Minute)) {
		t.Errorf("a full buffer is complete since %s, want %s", got, oldest)
	}
}

// TestBufferChanges changes the size at run time.
func TestBufferChanges(t *testing.T) {
	f := newFixture(t)
	f.hub.SetBuffer(MaxBuffer)
	for range 2000 {
		f.call(v1+"Version", &runtime.VersionRequest{}, &runtime.VersionResponse{})
	}
	if got := f.past(Filter{}); len(got) != 2000 {
		t.Errorf("%d calls are kept", len(got))
	}
	f.hub.SetBuffer(MinBuffer)
	got := f.past(Filter{})
	if len(got) == 0 || len(got) >= 1000 || got[len(got)-1].ID != 2000 || cap(f.hub.history.ring.buffer) != MinBuffer {
		t.Errorf("%d calls are kept in %d bytes", len(got), cap(f.hub.history.ring.buffer))
	}
	f.hub.SetBuffer(MaxBuffer)
	if again := f.past(Filter{}); len(again) != len(got) || !f.hub.history.full {
		t.Errorf("%d calls of %d are left", len(again), len(got))
	}
	running, _ := f.begin(pullImage)
	f.hub.SetBuffer(0)
	if _, err := f.hub.Past(time.Time{}, Filter{}); !errors.Is(err, ErrNoHistory) || cap(f.hub.history.ring.buffer) != 0 {
		t.Errorf("after the buffer was removed: %v", err)
	}
	f.hub.End(running, Result{})
	f.hub.SetBuffer(MinBuffer)
	f.hub.End(running, Result{}) // began before the buffer
	if got := f.past(Filter{}); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestHistoryIsBounded makes calls with long, hostile texts. The buffer never grows, and keeps
// the latest calls.
func TestHistoryIsBounded(t *testing.T) {
	f := newFixture(t)
	for _, size := range []int{MinBuffer, MaxBuffer} {
		f.hub.SetBuffer(0)
		f.hub.SetBuffer(size)
		long := strings.Repeat("\x1b\n\"", 1<<20)
		for id := range uint64(100) {
			call := Call{ID: id, Client: Client{Process: -1, User: -1, Name: long[:id]}, Method: long, Start: time.Unix(1000, 0)}
			f.hub.Begin(call)
			for range 2 * maxImages {
				f.hub.ObserveDecision(id, Decision{Asked: long, Served: long, Registry: long, Reason: long, Namespace: long, Pod: long})
			}
			f.hub.End(call, Result{Err: errors.New(long)})
		}
		held := f.hub.history.ring
		if cap(held.buffer) != size || held.used > size {
			t.Errorf("%d of %d bytes are held, want at most %d", held.used, cap(held.buffer), size)
		}
		all := f.past(Filter{})
		if len(all) < 3 || all[len(all)-1].ID != 99 || all[0].ID != 100-uint64(len(all)) {
			t.Errorf("%d calls are kept", len(all))
		}
	}
	for id := range uint64(2 * queueLength) { // calls that do not end
		f.hub.Begin(Call{ID: id})
	}
	if running := len(f.hub.history.running); running != queueLength {
		t.Errorf("%d running calls are held", running)
	}
}

// TestHistoryHasNoSecrets plants secrets in all inputs of the hub, and reads the buffer itself.
func TestHistoryHasNoSecrets(t *testing.T) {
	const canary = "hunter2canary"
	f := newFixture(t)
	f.hub.SetBuffer(MinBuffer)
	for _, read := range []bool{false, true} {
		if read {
			f.subscribe(Filter{}, true)
		}
		call, tap := f.begin(pullImage)
		f.send(tap, true, &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: canary}, Auth: &runtime.AuthConfig{Password: canary}})
		f.send(tap, false, &runtime.PullImageResponse{ImageRef: canary})
		address := "https://user:" + canary + "@hub:5000"
		f.hub.ObserveDecision(call.ID, Decision{Asked: address, Served: address, Registry: address, Reason: "password=" + canary, Namespace: address, Pod: address})
		f.hub.End(call, Result{Code: codes.Unknown, Err: errors.New(canary)})
	}
	if held := f.hub.history.ring.appendTo(nil); !bytes.Contains(held, []byte("hub:5000")) || bytes.Contains(held, []byte(canary)) {
		t.Errorf("the buffer has %s", held)
	}
}

// BenchmarkHistory measures the cost of a call with and without a history, and for how long
// calls wait for a look back.
func BenchmarkHistory(b *testing.B) {
	decision := Decision{Asked: "nginx:1.25", Served: "hub:5000/library/nginx:1.25", Registry: "http://hub:5000", Reason: "the registry has it", Namespace: "team", Pod: "web-7d4b9c-x2x"}
	for _, test := range []struct {
		name      string
		size      int
		decisions bool
	}{{"off", 0, false}, {"on", MaxBuffer, false}, {"on, with a decision", MaxBuffer, true}} {
		b.Run(test.name, func(b *testing.B) {
			hub := NewHub(Options{})
			hub.SetBuffer(test.size)
			b.ReportAllocs()
			call := Call{Client: Client{Process: os.Getpid()}, Method: pullImage, Start: time.Now()}
			for b.Loop() {
				call.ID++
				hub.Begin(call)
				if test.decisions {
					hub.ObserveDecision(call.ID, decision)
				}
				hub.End(call, Result{Duration: time.Millisecond, RequestBytes: 100, ResponseBytes: 1000})
			}
			if test.size > 0 {
				b.ReportMetric(float64(len(hub.history.ring.buffer))/float64(bytes.Count(hub.history.ring.appendTo(nil), []byte("\n"))), "B/kept")
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		hub := NewHub(Options{})
		hub.SetBuffer(MaxBuffer)
		for id := range uint64(20_000) {
			hub.End(Call{ID: id, Method: pullImage}, Result{})
		}
		for kept := newSnapshot(); b.Loop(); {
			hub.history.copyTo(&kept)
		}
	})
	b.Run("look back", func(b *testing.B) {
		hub := NewHub(Options{})
		hub.SetBuffer(MaxBuffer)
		for id := range uint64(20_000) {
			hub.End(Call{ID: id, Method: pullImage}, Result{})
		}
		for b.Loop() {
			_, _ = hub.Past(time.Time{}, Filter{})
		}
	})
}
