package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	gc "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	v1     = "/runtime.v1.RuntimeService/"
	events = v1 + "GetContainerEvents"
)

// fixture is a hub and the client that reports calls to it.
type fixture struct {
	*testing.T
	hub  *Hub
	last uint64
}

func newFixture(t *testing.T) *fixture {
	return &fixture{T: t, hub: NewHub(Options{UnboundedStreams: []string{events}, Invoke: invoke})}
}

// invoke is a runtime with a pod and containers that serves only v1alpha2 of the CRI.
func invoke(_ context.Context, method string, _ []byte) ([]byte, error) {
	switch method {
	case "/runtime.v1alpha2.RuntimeService/ListPodSandbox":
		return proto.Marshal(&runtime.ListPodSandboxResponse{Items: []*runtime.PodSandbox{
			{Id: "pod1", Metadata: &runtime.PodSandboxMetadata{Namespace: "default", Name: "web"}}}})
	case "/runtime.v1alpha2.RuntimeService/ListContainers":
		return proto.Marshal(&runtime.ListContainersResponse{Containers: []*runtime.Container{
			{Id: "container1", PodSandboxId: "pod1", Metadata: &runtime.ContainerMetadata{Name: "app"}, Image: &runtime.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "nginx:1.25"}, ImageRef: "sha256:1"},
			{Id: "more", Metadata: &runtime.ContainerMetadata{Name: "plain"}, Image: &runtime.ImageSpec{Image: "sha256:1"}, ImageRef: "sha256:1"}}})
	}
	return nil, errors.New("unknown method")
}

func (f *fixture) subscribe(filter Filter, bodies bool) *Reader {
	f.Helper()
	r := f.hub.Subscribe(f.Context(), filter, bodies)
	f.Cleanup(r.Close)
	return r
}

// begin starts a call of this process.
func (f *fixture) begin(method string) (Call, *Tap) {
	f.last++
	call := Call{ID: f.last, Client: Client{Process: os.Getpid(), User: 5}, Method: method, Start: time.Unix(1000, 0)}
	return call, f.hub.Begin(call)
}

// send passes a message to a tap, as the proxy does.
func (f *fixture) send(tap *Tap, fromClient bool, message proto.Message) {
	f.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		f.Fatal(err)
	}
	if tap == nil {
		return
	}
	if wanted := tap.Wants(fromClient, len(encoded)); wanted > 0 {
		tap.Message(fromClient, encoded[:min(wanted, len(encoded))], len(encoded), false)
		for i := range encoded { // content is only valid until Message returns
			encoded[i] = 0xff
		}
	}
}

// call makes a call that succeeds.
func (f *fixture) call(method string, request, response proto.Message) {
	f.Helper()
	call, tap := f.begin(method)
	f.send(tap, true, request)
	f.send(tap, false, response)
	f.hub.End(call, Result{Duration: time.Second, RequestBytes: 10, ResponseBytes: 20})
}

// next returns the next event.
func (f *fixture) next(r *Reader) Event {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 30*time.Second)
	defer cancel()
	line, err := r.Next(ctx)
	if err != nil {
		f.Fatal(err)
	}
	var event Event
	if err := json.Unmarshal(line, &event); err != nil {
		f.Fatalf("%v in %s", err, line)
	}
	return event
}

// TestNames requires the names of pods and containers that existed before the first reader
// or were created later, and only the IDs of removed ones.
func TestNames(t *testing.T) {
	f := newFixture(t)
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	r := f.subscribe(Filter{}, false)
	about := func(method string, request, response proto.Message) string {
		f.call(method, request, response)
		e := f.next(r)
		if e.Kind != KindCall || e.Method != method || e.Code != "OK" || e.Seconds != 1 || e.RequestBytes != 10 || e.ResponseBytes != 20 ||
			e.Client.Name != strings.TrimSpace(string(comm)) || e.Client.User != 5 || e.Request != nil || e.Response != nil {
			t.Errorf("%s: %+v", method, e)
		}
		return strings.Join(append([]string{e.Pod, e.Container}, e.Images...), ",")
	}
	pod := &runtime.PodSandboxConfig{Metadata: &runtime.PodSandboxMetadata{Namespace: "kube-system", Name: "dns"}}
	old := "/runtime.v1alpha2.RuntimeService/"
	for i, test := range []struct {
		method            string
		request, response proto.Message
		want              string
	}{
		{v1 + "StartContainer", &runtime.StartContainerRequest{ContainerId: "container1"}, &runtime.StartContainerResponse{}, "default/web,app,nginx:1.25"},
		{v1 + "StartContainer", &runtime.StartContainerRequest{ContainerId: "conta"}, &runtime.StartContainerResponse{}, "default/web,app,nginx:1.25"},
		{v1 + "StartContainer", &runtime.StartContainerRequest{ContainerId: "more"}, &runtime.StartContainerResponse{}, ",plain"},
		{v1 + "StartContainer", &runtime.StartContainerRequest{ContainerId: "other"}, &runtime.StartContainerResponse{}, ",other"},
		{v1 + "PodSandboxStatus", &runtime.PodSandboxStatusRequest{PodSandboxId: "pod1"}, &runtime.PodSandboxStatusResponse{}, "default/web,"},
		{v1 + "RunPodSandbox", &runtime.RunPodSandboxRequest{Config: pod}, &runtime.RunPodSandboxResponse{PodSandboxId: "pod2"}, "kube-system/dns,"},
		{old + "CreateContainer", &runtime.CreateContainerRequest{PodSandboxId: "pod2", Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: "core"}, Image: &runtime.ImageSpec{Image: "coredns"}, Mounts: []*runtime.Mount{{Image: &runtime.ImageSpec{Image: "data"}}},
		}}, &runtime.CreateContainerResponse{ContainerId: "container2"}, "kube-system/dns,core,coredns,data"},
		{old + "ExecSync", &runtime.ExecSyncRequest{ContainerId: "container2"}, &runtime.ExecSyncResponse{}, "kube-system/dns,core,coredns"},
		{v1 + "ListContainers", &runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{PodSandboxId: "pod2"}}, &runtime.ListContainersResponse{}, "kube-system/dns,"},
		{v1 + "RemoveContainer", &runtime.RemoveContainerRequest{ContainerId: "container2"}, &runtime.RemoveContainerResponse{}, "kube-system/dns,core,coredns"},
		{v1 + "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: "container2"}, &runtime.ContainerStatusResponse{}, ",container2"},
		{v1 + "RemovePodSandbox", &runtime.RemovePodSandboxRequest{PodSandboxId: "pod2"}, &runtime.RemovePodSandboxResponse{}, "kube-system/dns,"},
		{v1 + "StopPodSandbox", &runtime.StopPodSandboxRequest{PodSandboxId: "pod2"}, &runtime.StopPodSandboxResponse{}, "pod2,"},
		{"/runtime.v1.ImageService/ImageStatus", &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: "nginx"}}, &runtime.ImageStatusResponse{}, ",,nginx"},
		{"/runtime.v1.ImageService/ListImages", &runtime.ListImagesRequest{}, &runtime.ListImagesResponse{}, ","},
		{"/containerd.services.version.v1.Version/Version", &runtime.VersionRequest{}, &runtime.VersionResponse{}, ","},
	} {
		if got := about(test.method, test.request, test.response); got != test.want {
			t.Errorf("%d: %s: got %q, want %q", i, test.method, got, test.want)
		}
	}
}

// TestMessages requires masked messages, only for readers that want messages, and the reason
// for a missing message.
func TestMessages(t *testing.T) {
	f := newFixture(t)
	with, without := f.subscribe(Filter{}, true), f.subscribe(Filter{}, false)
	const pull = "/runtime.v1alpha2.ImageService/PullImage"
	f.call(pull, &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx"}, Auth: &runtime.AuthConfig{Password: "hunter2"}}, &runtime.PullImageResponse{})
	if e := f.next(without); e.Request != nil || e.Response != nil || !slices.Equal(e.Images, []string{"nginx"}) {
		t.Errorf("without: %+v", e)
	}
	if e := f.next(with); string(e.Request) != `{"image":{"image":"nginx"},"auth":"********"}` || string(e.Response) != "{}" {
		t.Errorf("with: %s %s", e.Request, e.Response)
	}
	for name, test := range map[string]struct {
		method string
		report func(tap *Tap)
		want   string
	}{
		"too long":   {pull, func(tap *Tap) { _ = tap.Wants(true, 2<<20) }, `"2097152 bytes, not shown: too long"`},
		"a part":     {pull, func(tap *Tap) { tap.Message(true, []byte("abc"), 10, false) }, `"10 bytes, not shown: too long"`},
		"compressed": {pull, func(tap *Tap) { tap.Message(true, []byte("abc"), 3, true) }, `"3 bytes, not shown: compressed"`},
		"malformed":  {pull, func(tap *Tap) { tap.Message(true, []byte("hunter2"), 7, false) }, `"7 bytes, not shown: not a message of a known type"`},
		"unknown":    {"/other.Service/Method", func(tap *Tap) { _ = tap.Wants(true, 7) }, `"7 bytes, not shown: not a CRI method"`},
		"none":       {pull, func(*Tap) {}, ``},
	} {
		call, tap := f.begin(test.method)
		test.report(tap)
		f.hub.End(call, Result{})
		if e := f.next(with); string(e.Request) != test.want || e.Response != nil {
			t.Errorf("%s: got %s, %s", name, e.Request, e.Response)
		}
	}
}

// TestPodOfPull finds the pod in the request of a pull, or in a decision if the request is too
// long to be read.
func TestPodOfPull(t *testing.T) {
	f := newFixture(t)
	r := f.subscribe(Filter{Namespaces: []string{"team"}}, false)
	const pull = "/runtime.v1.ImageService/PullImage"
	f.call(pull, &runtime.PullImageRequest{}, &runtime.PullImageResponse{})
	f.call(pull, &runtime.PullImageRequest{SandboxConfig: &runtime.PodSandboxConfig{Metadata: &runtime.PodSandboxMetadata{Namespace: "team", Name: "web"}}}, &runtime.PullImageResponse{})
	if e := f.next(r); e.ID != 2 || e.Pod != "team/web" {
		t.Errorf("got %+v", e)
	}
	call, tap := f.begin(pull)
	_ = tap.Wants(true, maxSubjectBytes+1)
	f.hub.ObserveDecision(call.ID, Decision{Asked: "nginx", Namespace: "team", Pod: "web"})
	f.hub.End(call, Result{})
	if e := f.next(r); e.ID != 3 || e.Pod != "team/web" {
		t.Errorf("got %+v", e)
	}
}

// TestEvents starts a stream before the first reader, and requires its messages for this
// reader and a later one.
func TestEvents(t *testing.T) {
	f := newFixture(t)
	early, tap := f.begin(events)
	if tap == nil {
		t.Fatal("no tap for an unbounded stream")
	}
	event := &runtime.ContainerEventResponse{ContainerId: "c", PodSandboxStatus: &runtime.PodSandboxStatus{Id: "p", Metadata: &runtime.PodSandboxMetadata{Namespace: "default", Name: "web"}},
		ContainersStatuses: []*runtime.ContainerStatus{{Id: "c", Metadata: &runtime.ContainerMetadata{Name: "app"}, Image: &runtime.ImageSpec{Image: "nginx"}}}}
	f.send(tap, false, event) // without a reader
	for range 2 {
		r := f.hub.Subscribe(t.Context(), Filter{}, true)
		f.send(tap, true, &runtime.GetEventsRequest{}) // too late to be recorded
		f.send(tap, false, event)
		e := f.next(r)
		if e.Kind != KindMessage || e.ID != early.ID || e.Method != events || e.Pod != "default/web" || e.Container != "app" || !slices.Equal(e.Images, []string{"nginx"}) ||
			e.ResponseBytes == 0 || !e.Time.After(early.Start.Add(time.Hour)) || !strings.Contains(string(e.Response), `"containerId":"c"`) || e.Client.Name == "" {
			t.Errorf("got %+v", e)
		}
		r.Close()
		f.send(tap, false, event)
	}
	r := f.subscribe(Filter{}, false)
	f.hub.End(early, Result{Code: codes.Unavailable, Err: errors.New("password=hunter2 ended")})
	if e := f.next(r); e.Kind != KindCall || e.Code != "Unavailable" || e.Error != "password=******** ended" {
		t.Errorf("got %+v", e)
	}
}

func TestDecisions(t *testing.T) {
	f := newFixture(t)
	f.hub.ObserveDecision(1, Decision{})
	r := f.subscribe(Filter{Images: []string{"hub:5000"}}, false)
	f.call("/runtime.v1.ImageService/PullImage", &runtime.PullImageRequest{}, &runtime.PullImageResponse{})
	call, _ := f.begin("/runtime.v1.ImageService/PullImage")
	want := Decision{Asked: "nginx", Served: "hub:5000/library/nginx", Registry: "http://hub:5000", Reason: "found"}
	f.hub.ObserveDecision(call.ID, want)
	f.hub.ObserveDecision(call.ID+1, Decision{Asked: "another"})
	f.hub.End(call, Result{})
	if e := f.next(r); e.ID != call.ID || !slices.Equal(e.Decisions, []Decision{want}) {
		t.Errorf("got %+v", e)
	}
}

// TestSlowReader has a reader that does not read. It loses events and gets their number at
// the position of the loss. Calls and other readers do not wait for it.
func TestSlowReader(t *testing.T) {
	f := newFixture(t)
	slow, quick := f.subscribe(Filter{}, false), f.subscribe(Filter{}, false)
	const calls = maxQueuedLines + 2*queueLength
	seen := make(chan uint64)
	var reading sync.WaitGroup
	reading.Go(func() {
		total := uint64(0)
		for total < calls {
			line, err := quick.Next(t.Context())
			if err != nil {
				break
			}
			total += counted(t, line)
		}
		seen <- total
	})
	for range calls {
		f.call(v1+"Version", &runtime.VersionRequest{}, &runtime.VersionResponse{})
	}
	if total := <-seen; total != calls {
		t.Errorf("the quick reader got %d calls", total)
	}
	reading.Wait()
	total, lost, last := uint64(0), false, uint64(0)
	for total < calls {
		e := f.next(slow)
		switch e.Kind {
		case KindLost:
			lost = true
			total += uint64(e.Lost)
		default:
			if e.ID <= last {
				t.Fatalf("call %d after %d", e.ID, last)
			}
			last = e.ID
			total++
		}
	}
	if !lost || total != calls {
		t.Errorf("the slow reader got %d calls, some lost: %t", total, lost)
	}
	f.call(v1+"Version", &runtime.VersionRequest{}, &runtime.VersionResponse{})
	if e := f.next(slow); e.ID != calls+1 {
		t.Errorf("afterwards %+v", e)
	}
}

// counted returns the number of calls that a line reports.
func counted(t *testing.T, line []byte) uint64 {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Error(err)
	}
	if e.Kind == KindLost {
		return uint64(e.Lost)
	}
	return 1
}

// TestStuckHub blocks the hub's worker. Calls must not wait, and all must be accounted for.
func TestStuckHub(t *testing.T) {
	f := newFixture(t)
	r := f.subscribe(Filter{}, true)
	r.session.names.mutex.Lock() // blocks the worker
	big := &runtime.ExecSyncRequest{ContainerId: "c", Cmd: []string{strings.Repeat("x", maxBodyBytes/2)}}
	const calls = queueLength + 100
	for i := range calls {
		request := &runtime.ExecSyncRequest{ContainerId: "c"}
		if i < 100 {
			request = big
		}
		f.call(v1+"ExecSync", request, &runtime.ExecSyncResponse{})
	}
	if held := r.session.budget.used.Load(); held > budgetBytes {
		t.Errorf("%d bytes are held", held)
	}
	r.session.names.mutex.Unlock()
	unseen, total := 0, uint64(0)
	for total < calls {
		e := f.next(r)
		total += max(uint64(e.Lost), 1)
		if bytes.Contains(e.Request, []byte(overBudget)) {
			unseen++
		}
	}
	if unseen == 0 {
		t.Error("no message exceeded the budget")
	}
	for r.session.budget.used.Load() != 0 { // until the last record is published
		if t.Context().Err() != nil {
			t.Fatalf("%d bytes are held", r.session.budget.used.Load())
		}
	}
}

// TestNoReaders requires that calls allocate nothing without readers.
func TestNoReaders(t *testing.T) {
	f := newFixture(t)
	call := Call{ID: 1, Client: Client{Process: 1}, Method: v1 + "Version", Start: time.Now()}
	failure := errors.New("failure")
	check := func() {
		t.Helper()
		if allocations := testing.AllocsPerRun(100, func() {
			if f.hub.Begin(call) != nil {
				t.Error("got a tap without a reader")
			}
			f.hub.ObserveDecision(call.ID, Decision{Asked: "nginx"})
			f.hub.End(call, Result{Duration: time.Second, Code: codes.NotFound, Err: failure})
		}); allocations != 0 {
			t.Errorf("%v allocations", allocations)
		}
	}
	check()
	f.hub.Subscribe(t.Context(), Filter{}, true).Close()
	check()
	f.hub.SetBuffer(MaxBuffer)
	f.hub.SetBuffer(0)
	check()
}

// BenchmarkCall measures the cost of reporting a call to the hub.
func BenchmarkCall(b *testing.B) {
	request, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	if err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]bool{"no reader": false, "read": true} {
		b.Run(name, func(b *testing.B) {
			hub := NewHub(Options{UnboundedStreams: []string{events}})
			if read {
				defer hub.Subscribe(b.Context(), Filter{}, true).Close()
			}
			b.ReportAllocs()
			call := Call{Client: Client{Process: os.Getpid()}, Method: "/runtime.v1.ImageService/PullImage", Start: time.Now()}
			for b.Loop() {
				call.ID++
				if tap := hub.Begin(call); tap != nil && tap.Wants(true, len(request)) > 0 {
					tap.Message(true, request, len(request), false)
				}
				hub.End(call, Result{})
			}
		})
	}
}

// TestReadersComeAndGo subscribes and closes readers during calls, for the race detector.
func TestReadersComeAndGo(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() {
			for id := uint64(client) << 32; ctx.Err() == nil; id++ {
				call := Call{ID: id, Method: events, Start: time.Now()}
				tap := f.hub.Begin(call)
				f.send(tap, true, &runtime.GetEventsRequest{})
				f.send(tap, false, &runtime.ContainerEventResponse{ContainerId: "c"})
				f.hub.ObserveDecision(id, Decision{})
				f.hub.End(call, Result{})
			}
		})
	}
	for i := range 50 {
		r := f.hub.Subscribe(ctx, Filter{}, i%2 == 0)
		other := f.hub.Subscribe(ctx, Filter{Errors: true}, true)
		_ = f.next(r)
		r.Close()
		other.Close()
	}
	cancel()
	clients.Wait()
	if f.hub.session.Load() != nil {
		t.Error("a session is left without readers")
	}
}

// TestReadersDontWait closes a reader while the worker is blocked. New readers must not wait.
func TestReadersDontWait(t *testing.T) {
	f := newFixture(t)
	first := f.hub.Subscribe(t.Context(), Filter{}, false)
	first.session.names.mutex.Lock() // blocks the worker
	f.call(v1+"StopPodSandbox", &runtime.StopPodSandboxRequest{PodSandboxId: "pod1"}, &runtime.StopPodSandboxResponse{})
	for len(first.session.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	var leaving sync.WaitGroup
	leaving.Go(first.Close)
	for f.hub.session.Load() != nil {
		time.Sleep(time.Millisecond)
	}
	second := make(chan *Reader, 1)
	go func() { second <- f.hub.Subscribe(t.Context(), Filter{}, false) }()
	select {
	case r := <-second:
		r.Close()
	case <-time.After(3 * time.Second):
		t.Error("the second reader waited for the first reader's end")
	}
	first.session.names.mutex.Unlock()
	leaving.Wait()
}

// TestReaderGivesUp has a runtime that does not answer. A reader with a canceled context
// must not wait for it; other readers must.
func TestReaderGivesUp(t *testing.T) {
	answer, asked := make(chan struct{}), make(chan struct{}, 4)
	hub := NewHub(Options{Invoke: func(ctx context.Context, method string, request []byte) ([]byte, error) {
		asked <- struct{}{}
		select {
		case <-answer:
			return invoke(ctx, method, request)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	impatient := hub.Subscribe(gone, Filter{}, false)
	<-asked // the runtime does not answer yet
	close(answer)
	patient := hub.Subscribe(t.Context(), Filter{}, false)
	impatient.Close()
	if name := patient.session.names.pod("pod1"); name != "default/web" {
		t.Errorf("got %q", name)
	}
	patient.Close()
}

// TestSessionEnds requires that an unbounded stream keeps no memory of the session that it
// started in.
func TestSessionEnds(t *testing.T) {
	f := newFixture(t)
	r := f.hub.Subscribe(t.Context(), Filter{}, true)
	_, tap := f.begin(events)
	f.send(tap, true, &runtime.GetEventsRequest{})
	over := weak.Make(r.session)
	r.Close()
	for r = nil; over.Value() != nil; gc.GC() {
		if t.Context().Err() != nil {
			t.Fatal("the session is still in memory")
		}
	}
	f.send(tap, false, &runtime.ContainerEventResponse{})
}

// TestBudget starts messages that never arrive completely. Their reservations are bounded,
// and released when the message arrives or the call ends.
func TestBudget(t *testing.T) {
	f := newFixture(t)
	early, earlyTap := f.begin(events)
	r := f.hub.Subscribe(t.Context(), Filter{Errors: true}, true)
	calls, taps := []Call{early}, []*Tap{earlyTap}
	for range budgetBytes/maxBodyBytes - 1 {
		call, tap := f.begin(v1 + "ExecSync")
		calls, taps = append(calls, call), append(taps, tap)
	}
	wants := func(tap *Tap, want int) {
		t.Helper()
		if got := tap.Wants(false, maxBodyBytes); got != want {
			t.Errorf("%d bytes are wanted, expected %d", got, want)
		}
	}
	for _, tap := range taps {
		wants(tap, maxBodyBytes)
	}
	call, more := f.begin(v1 + "ExecSync")
	wants(more, 0)
	taps[1].Message(false, nil, maxBodyBytes, true)
	wants(more, maxBodyBytes)
	wants(taps[1], 0)
	for _, call := range append(calls, call) {
		f.hub.End(call, Result{})
	}
	if taken := r.session.budget.used.Load(); taken != 0 {
		t.Errorf("%d bytes are reserved after all calls have ended", taken)
	}
	wants(more, 0) // too late
	_, kept := f.begin(v1 + "ExecSync")
	f.send(kept, true, &runtime.ExecSyncRequest{ContainerId: "c"})
	r.Close()
	if kept.request.content != nil {
		t.Errorf("after the trace %q is kept", kept.request.content)
	}
}
