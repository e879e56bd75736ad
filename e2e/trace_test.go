package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// startTrace starts a trace of the node's shim. Its output and recording must not contain a
// secret.
func (n *node) startTrace(t *testing.T, arguments ...string) *testbed.Trace {
	t.Helper()
	trace, err := n.shim.Trace(testContext(t), t.TempDir(), arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trace.Kill)
	return trace
}

// interruptTrace ends a trace and returns its output: the events and the closing message.
func interruptTrace(t *testing.T, trace *testbed.Trace) (events, said string) {
	t.Helper()
	if err := trace.Interrupt(testContext(t)); err != nil {
		t.Errorf("the trace ended with: %v", err)
	}
	printed, err := os.ReadFile(trace.Printed())
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := trace.Read(testContext(t), "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, "trace", printed)
	wantNoSecret(t, "recorded trace", recorded)
	at := bytes.LastIndex(printed, []byte("image-cri-shim: "))
	if at < 0 {
		t.Fatalf("the trace has no closing message:\n%s", printed)
	}
	return string(printed[:at]), string(printed[at:])
}

// waitForEvent waits for an event of a method for which fits returns true, and returns the first.
func waitForEvent(t *testing.T, trace *testbed.Trace, method string, fits func(testbed.TraceEvent) bool) (found testbed.TraceEvent) {
	t.Helper()
	eventually(t, func() string {
		events, err := trace.Events()
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(events, func(e testbed.TraceEvent) bool { return e.Method == method && fits(e) })
		if at < 0 {
			return "no event of " + method
		}
		found = events[at]
		return ""
	})
	return found
}

func anyEvent(testbed.TraceEvent) bool { return true }

// TestTrace traces pulls and then reads the recording with several options.
func TestTrace(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		all, failures, table := n.startTrace(t, "--body", "--output", "json"), n.startTrace(t, "--errors", "--output", "json"), n.startTrace(t, "--summary", "--image", "nginx")
		id := n.pull(t, n.through, "nginx:1.25", callerLogin)
		if _, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "nowhere:1"}, callerLogin, nil); err == nil {
			t.Fatal("nowhere:1 was pulled")
		}
		const pull, status = "/runtime.v1.ImageService/PullImage", "/runtime.v1.ImageService/ImageStatus"
		n.status(t, n.through, id)
		e := waitForEvent(t, all, pull, anyEvent)
		stored := shared.private.Host() + "/library/nginx:1.25"
		if e.Kind != "call" || e.Code != "OK" || e.Client.Process != os.Getpid() || e.Client.User != os.Getuid() || e.Client.Name == "" || e.Seconds <= 0 ||
			e.RequestBytes == 0 || e.ResponseBytes == 0 || !slices.Equal(e.Images, []string{"nginx:1.25"}) ||
			len(e.Decisions) != 1 || e.Decisions[0].Served != stored || e.Decisions[0].Registry != shared.private.Address() ||
			string(e.Request) != `{"image":{"image":"nginx:1.25","userSpecifiedImage":"nginx:1.25"},"auth":"********"}` && string(e.Request) != `{"image":{"image":"nginx:1.25"},"auth":"********"}` ||
			string(e.Response) != `{"imageRef":"`+id+`"}` {
			t.Errorf("event of the pull: %+v %s %s", e, e.Request, e.Response)
		}
		if e := waitForEvent(t, all, status, func(e testbed.TraceEvent) bool { return slices.Contains(e.Images, id) }); !strings.Contains(string(e.Response), `"repoTags":["docker.io/library/nginx:1.25"]`) {
			t.Errorf("the response to the client is shown as %s", e.Response)
		}
		if e := waitForEvent(t, failures, pull, anyEvent); !slices.Equal(e.Images, []string{"nowhere:1"}) || e.Code == "OK" || e.Error == "" || e.Request != nil {
			t.Errorf("event of the failed pull: %+v", e)
		}
		lines, said := interruptTrace(t, all)
		if again, err := all.Read(testContext(t), "--output", "json"); err != nil || string(again) != lines || !strings.Contains(said, " 0 lost\n") {
			t.Errorf("printed\n%s%srecorded\n%s(%v)", lines, said, again, err)
		}
		if lines, _ := interruptTrace(t, failures); strings.Contains(lines, `"OK"`) {
			t.Errorf("failures:\n%s", lines)
		}
		if sums, _ := interruptTrace(t, table); !strings.Contains(sums, "\nPullImage ") || strings.Contains(sums, "Version") {
			t.Errorf("summary:\n%s", sums)
		}
	})
}

// TestTraceOfV1alpha2 requires that requests of the old API are decoded.
func TestTraceOfV1alpha2(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		n.needV1alpha2(t)
		trace := n.startTrace(t, "--body", "--method", "v1alpha2.*")
		request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}, Auth: callerLogin}
		n.v1alpha2(t, "ImageService/PullImage", request, &runtimeapi.PullImageResponse{})
		e := waitForEvent(t, trace, "/runtime.v1alpha2.ImageService/PullImage", anyEvent)
		if string(e.Request) != `{"image":{"image":"nginx:1.25"},"auth":"********"}` || !slices.Equal(e.Images, []string{"nginx:1.25"}) {
			t.Errorf("got %+v %s", e, e.Request)
		}
		interruptTrace(t, trace)
	})
}

// TestTraceOfPod traces the calls of a pod that has secrets in all its fields. A client
// receives events since before the trace.
func TestTraceOfPod(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	n.pull(t, n.through, "nginx:1.25", nil)
	listening := n.listen(t)
	old := n.startPod(t)
	oldContainer, err := old.Run(testContext(t), "old", "nginx:1.25")
	if err != nil {
		t.Fatal(err)
	}
	for method, heard := range listening {
		if status.Code(<-heard) == codes.Unimplemented {
			delete(listening, method)
		}
	}
	trace := n.startTrace(t, "--body", "--output", "json")

	request := old.CreateRequest("web", "nginx:1.25", "sh", "-c", "exec sleep 3600", "--password", newSecret("argument"))
	request.Config.Envs = []*runtimeapi.KeyValue{{Key: "CANARY", Value: []byte(newSecret("environment"))}}
	request.Config.Annotations = map[string]string{
		"example.com/token": newSecret("annotation"), "example.com/team": "blue",
		"kubectl.kubernetes.io/last-applied-configuration": `{"value":"` + newSecret("applied") + `"}`,
	}
	ctx, runtime := testContext(t), n.through.Runtime
	container, err := runtime.CreateContainer(ctx, request.PodSandboxId, request.Config, request.SandboxConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.StartContainer(ctx, container); err != nil {
		t.Fatal(err)
	}
	printed, _, err := runtime.ExecSync(ctx, container, []string{"sh", "-c", "A=" + newSecret("exec") + "; echo $CANARY"}, 10*time.Second)
	if err != nil || !bytes.Contains(printed, []byte("canary-environment")) {
		t.Fatalf("environment of the container: %q, %v", printed, err)
	}
	execution, err := runtime.Exec(ctx, &runtimeapi.ExecRequest{ContainerId: container, Cmd: []string{"env"}, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	registerSecret(execution.Url[strings.LastIndex(execution.Url, "/")+1:])
	for _, id := range []string{container, oldContainer[:12]} {
		if _, err := runtime.ContainerStatus(ctx, id, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := runtime.PodSandboxStatus(ctx, request.PodSandboxId, true); err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Status(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := runtime.StopContainer(ctx, container, 0); err != nil {
		t.Fatal(err)
	}
	const service = "/runtime.v1.RuntimeService/"
	pod := "testbed/" + request.SandboxConfig.Metadata.Name
	for _, method := range []string{"CreateContainer", "StartContainer", "ExecSync", "Exec", "ContainerStatus", "StopContainer"} {
		e := waitForEvent(t, trace, service+method, anyEvent)
		if e.Pod != pod || e.Container != "web" || !slices.Contains(e.Images, "nginx:1.25") || e.Code != "OK" || e.Request == nil || e.Response == nil {
			t.Errorf("%s: %+v %s %s", method, e, e.Request, e.Response)
		}
	}
	waitForEvent(t, trace, service+"ContainerStatus", func(e testbed.TraceEvent) bool { return e.Pod == pod && e.Container == "old" })
	waitForEvent(t, trace, service+"PodSandboxStatus", func(e testbed.TraceEvent) bool { return e.Pod == pod && e.Container == "" })
	created := waitForEvent(t, trace, service+"CreateContainer", anyEvent)
	for _, shown := range []string{`"envs":[{"key":"CANARY","value":"********"}]`, `"example.com/team":"blue"`, `"example.com/token":"********"`, `"--password","********"`} {
		if !strings.Contains(string(created.Request), shown) {
			t.Errorf("missing %s in %s", shown, created.Request)
		}
	}
	for method := range listening {
		e := waitForEvent(t, trace, method, func(e testbed.TraceEvent) bool { return e.Kind == "message" })
		if e.ResponseBytes == 0 || e.Client.Process != os.Getpid() {
			t.Errorf("%s: %+v", method, e)
		}
		if strings.HasPrefix(method, service) {
			waitForEvent(t, trace, method, func(e testbed.TraceEvent) bool {
				return e.Pod == pod && e.Container == "web" && e.Response != nil && slices.Equal(e.Images, []string{"docker.io/library/nginx:1.25"})
			})
		}
	}
	interruptTrace(t, trace)
}

// TestTraceOfSlowReader pauses the trace command. Calls must continue, and the events that
// it does not receive must be counted as lost.
func TestTraceOfSlowReader(t *testing.T) {
	n := newNode(t, shared.embedded, privateConfiguration())
	trace := n.startTrace(t, "--body", "--method", "CreateContainer", "--method", "Version", "--summary")
	other := n.startTrace(t, "--count", "14", "--method", "CreateContainer")
	trace.Pause()
	groups := &runtimeapi.LinuxContainerSecurityContext{SupplementalGroups: slices.Repeat([]int64{1 << 62}, 100_000)} // 2 MB as JSON
	large := &runtimeapi.CreateContainerRequest{Config: &runtimeapi.ContainerConfig{Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: groups}}}
	calls := 14 // counted by the other reader; more than the shim's queue for a reader and the socket buffers hold
	for range calls {
		err := n.through.Connection.Invoke(testContext(t), "/runtime.v1.RuntimeService/CreateContainer", large, &runtimeapi.CreateContainerResponse{})
		if status.Code(err) != codes.Unimplemented {
			t.Fatal(err)
		}
	}
	if err := other.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	before := calls
	trace.Resume()
	eventually(t, func() string {
		if _, err := n.through.Runtime.Version(testContext(t), ""); err != nil {
			t.Fatal(err)
		}
		if calls++; !trace.EndsWith("Service/Version") {
			return "calls made after Resume are not shown"
		}
		return ""
	})
	if err := trace.Interrupt(testContext(t)); err != nil {
		t.Error(err)
	}
	printed, err := os.ReadFile(trace.Printed())
	if err != nil {
		t.Fatal(err)
	}
	var seen, lost int
	end := printed[max(0, bytes.LastIndex(printed, []byte("image-cri-shim: "))):]
	if _, err := fmt.Sscanf(string(end), "image-cri-shim: %d events, %d lost\n", &seen, &lost); err != nil || lost == 0 || seen+lost < before || seen+lost > calls {
		t.Errorf("the trace ends with %q (%v), want some events lost and %d to %d in all", end, err, before, calls)
	}
}

// listen opens the event streams of the runtime. Each channel receives nil at the stream's
// first event, or its error.
func (n *node) listen(t *testing.T) map[string]<-chan error {
	t.Helper()
	heard := make(map[string]<-chan error)
	for _, method := range []string{"/runtime.v1.RuntimeService/GetContainerEvents", "/containerd.services.events.v1.Events/Subscribe"} {
		ctx, cancel := context.WithCancel(testContext(t))
		t.Cleanup(cancel)
		stream, err := n.through.Connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stream.SendMsg(&runtimeapi.GetEventsRequest{}), stream.CloseSend()); err != nil { // empty, as containerd's
			t.Fatal(err)
		}
		first := make(chan error, 1)
		heard[method] = first
		go func() {
			err := stream.RecvMsg(&runtimeapi.GetEventsRequest{})
			first <- err
			for err == nil {
				err = stream.RecvMsg(&runtimeapi.GetEventsRequest{})
			}
		}()
	}
	return heard
}
