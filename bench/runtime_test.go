package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/proxytest"
)

const testRegistry = "127.0.0.1:5000"

// dialStore serves a store and returns a client connected to it.
func dialStore(t *testing.T, keepsNames bool) *grpc.ClientConn {
	t.Helper()
	runtime := proxytest.NewRuntime(filepath.Join(t.TempDir(), "runtime.sock"))
	s, err := newStore(testRegistry, keepsNames)
	if err != nil {
		t.Fatal(err)
	}
	s.register(runtime)
	if keepsNames {
		s.registerNames(runtime)
	}
	if err := runtime.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Stop(); err != nil {
			t.Error(err)
		}
	})
	client, err := proxytest.Dial(runtime.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// The checks of the workloads accept the answers of the runtime, and reject
// others.
func TestWorkloadsAgainstTheRuntime(t *testing.T) {
	client := dialStore(t, false)
	for _, w := range workloads {
		t.Run(w.Name, func(t *testing.T) {
			for _, s := range w.steps(testRegistry, false) {
				if _, err := s.call(t.Context(), client); err != nil {
					t.Fatalf("%s: %v", s.method, err)
				}
				if s.check([]byte("something else")) == nil {
					t.Fatalf("%s: the check accepts any answer", s.method)
				}
			}
		})
	}
}

// The checks must reject the answers of a runtime without the requested names. Otherwise a
// contender that does not restore names would go unnoticed.
func TestNamesMustBeRestored(t *testing.T) {
	client := dialStore(t, false)
	for _, steps := range []func(string, bool) []step{listImages, statusOfName, statusOfID} {
		for _, s := range steps(testRegistry, true) {
			if _, err := s.call(t.Context(), client); err == nil {
				t.Errorf("%s: the check accepts the runtime's own names", s.method)
			}
		}
	}
}

func TestMessagesAreRealistic(t *testing.T) {
	for name, test := range map[string]struct {
		message     proto.Message
		least, most int // bytes, the range of containerd's answers to kubelet
	}{
		"container":        {container(0), 700, 1500},
		"container status": {containerStatus(0, testRegistry), 1200, 2500},
		"sandbox":          {sandbox(0), 400, 900},
		"image":            {image(0, testRegistry), 200, 400},
		"event":            {event(0, containerStatus(0, testRegistry)), 1800, 4000},
		"create container": {createContainer(0, testRegistry), 3000, 8000},
	} {
		if size := proto.Size(test.message); size < test.least || size > test.most {
			t.Errorf("%s: %d bytes, want %d to %d", name, size, test.least, test.most)
		}
	}
}

func TestLargeLists(t *testing.T) {
	client := dialStore(t, false)
	large := listStep(largeAnswer)
	response, err := proxytest.Invoke(t.Context(), client, large.method, large.request)
	if err != nil {
		t.Fatal(err)
	}
	if len(response) < largeAnswer || len(response) > largeAnswer+2000 {
		t.Errorf("got %d bytes, want %d or slightly more", len(response), largeAnswer)
	}
	decoded := &runtimeapi.ListContainersResponse{}
	if err := proto.Unmarshal(response, decoded); err != nil {
		t.Fatal(err)
	}
	if last := decoded.Containers[len(decoded.Containers)-1]; last.Id != containerID(len(decoded.Containers)-1) {
		t.Errorf("the last container is %s", last.Id)
	}
}

func TestHalfOfTheImagesAreFromTheRegistry(t *testing.T) {
	fromRegistry := 0
	for i := range images {
		if strings.HasPrefix(image(i, testRegistry).RepoTags[0], testRegistry+"/") {
			fromRegistry++
		}
	}
	if fromRegistry != images/2 {
		t.Errorf("%d of %d images are from the registry", fromRegistry, images)
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	client := dialStore(t, false)
	const calls, rate = 50, 1000
	l, err := openLoop(t.Context(), []*grpc.ClientConn{client}, []step{versionStep}, rate, calls*time.Second/rate)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.latencies) != calls || l.messages != calls {
		t.Errorf("got %d latencies and %d answers, want %d each", len(l.latencies), l.messages, calls)
	}
	if l.elapsed < (calls-1)*time.Second/rate {
		t.Errorf("finished after %v, faster than the rate allows", l.elapsed)
	}
}

func TestTheFirstErrorEndsALoad(t *testing.T) {
	client := dialStore(t, false)
	missing := step{method: runtimeService + "NoSuchMethod"}
	if _, err := closedLoop(t.Context(), []*grpc.ClientConn{client}, []step{missing}, 4, time.Hour); err == nil {
		t.Error("closed loop of failing calls: got no error")
	}
	if _, err := openLoop(t.Context(), []*grpc.ClientConn{client}, []step{missing}, 1000, 10*time.Millisecond); err == nil {
		t.Error("open loop of failing calls: got no error")
	}
}
