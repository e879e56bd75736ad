package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestTraceSince looks back at pulls for pods that ended before the trace.
func TestTraceSince(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration()+"traceBuffer: 1MiB\n")
		for image, namespace := range map[string]string{"nginx:1.25": "team", "nowhere:1": "other"} {
			sandbox := &runtimeapi.PodSandboxConfig{
				Metadata:    &runtimeapi.PodSandboxMetadata{Name: "web-0", Namespace: namespace},
				Annotations: map[string]string{"example.com/note": newSecret("annotation")},
			}
			if _, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: image}, callerLogin, sandbox); (err == nil) != (namespace == "team") {
				t.Fatalf("pull %s: %v", image, err)
			}
		}
		for _, test := range []struct {
			filter []string
			images []string // of the pulls
		}{
			{nil, []string{"nginx:1.25", "nowhere:1"}},
			{[]string{"--namespace", "te*"}, []string{"nginx:1.25"}},
			{[]string{"--pod", "other/web-0", "--image", "nowhere"}, []string{"nowhere:1"}},
			{[]string{"--errors", "--not-method", "*status"}, []string{"nowhere:1"}},
			{[]string{"--client", "e2e.*"}, []string{"nginx:1.25", "nowhere:1"}},
			{[]string{"--not-method", "PullImage"}, nil},
		} {
			trace := n.startTrace(t, append([]string{"--since", "1h", "--no-follow", "--output", "json"}, test.filter...)...)
			if err := trace.Wait(testContext(t)); err != nil {
				t.Fatal(err)
			}
			events, err := trace.Events()
			if err != nil {
				t.Fatal(err)
			}
			var pulled []string
			for _, e := range events {
				if strings.HasSuffix(e.Method, "/PullImage") {
					pulled = append(pulled, e.Decisions[0].Asked)
					if e.Client.Process != os.Getpid() || !strings.HasSuffix(e.Pod, "/web-0") || e.Seconds <= 0 || e.RequestBytes == 0 || e.Request != nil || e.Error != "" {
						t.Errorf("%+v", e)
					}
				}
			}
			slices.Sort(pulled)
			if !slices.Equal(pulled, test.images) {
				t.Errorf("%q: got %q, want %q", test.filter, pulled, test.images)
			}
			interruptTrace(t, trace)
		}
	})
}

// TestTraceSeam starts traces that look back while clients call. Each trace must have every
// call of the shim exactly once.
func TestTraceSeam(t *testing.T) {
	n := newNode(t, shared.embedded, privateConfiguration()+"traceBuffer: 2MiB\n")
	var clients sync.WaitGroup
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	for range 4 {
		client := dial(t, n.shim.Socket())
		clients.Go(func() {
			for ctx.Err() == nil {
				_, _ = client.Runtime.Version(ctx, "")
			}
		})
	}
	var traces []*testbed.Trace
	for range 5 {
		traces = append(traces, n.startTrace(t, "--since", "1h", "--summary"))
	}
	stop()
	clients.Wait()
	if _, err := n.through.Runtime.Version(testContext(t), ""); err != nil {
		t.Fatal(err)
	}
	last := uint64(0) // number of calls that the shim has had
	eventually(t, func() string {
		events, err := traces[0].Events()
		if err != nil || len(events) == 0 {
			return "no events"
		}
		if before := last; before != events[len(events)-1].ID {
			last = events[len(events)-1].ID
			return "more events follow"
		}
		return ""
	})
	for i, trace := range traces {
		var seen map[uint64]int
		eventually(t, func() string {
			events, err := trace.Events()
			if err != nil {
				t.Fatal(err)
			}
			seen = make(map[uint64]int)
			for _, e := range events {
				seen[e.ID]++
			}
			if seen[last] == 0 {
				return "the last call is missing"
			}
			return ""
		})
		for id := range last {
			if seen[id+1] != 1 {
				t.Errorf("trace %d has call %d %d times", i, id+1, seen[id+1])
			}
		}
		interruptTrace(t, trace)
	}
}
