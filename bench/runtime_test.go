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

// dialStore serves the store and returns a client.
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

// The checks of the workloads hold for what the runtime itself answers, and not
// for just anything.
func TestWorkloadsAgainstTheRuntime(t *testing.T) {
	client := dialStore(t, false)
	for _, w := range workloads {
		t.Run(w.Name, func(t *testing.T) {
			for _, s := range w.steps(testRegistry, false) {
				if _, err := s.call(t.Context(), client); err != nil {
					t.Fatalf("%s: %v", s.method, err)
				}
				if s.check([]byte("something else")) == nil {
					t.Fatalf("%s: the check accepts anything", s.method)
				}
			}
		})
	}
}

// A runtime without the names that the shim would restore must fail those
// workloads: a contender that does not restore them would go unnoticed.
func TestNamesMustBeRestored(t *testing.T) {
	client := dialStore(t, false)
	for _, steps := range []func(string, bool) []step{listImages, statusOfName, statusOfID} {
		for _, s := range steps(testRegistry, true) {
			if _, err := s.call(t.Context(), client); err == nil {
				t.Errorf("%s: the runtime's own names pass for the users'", s.method)
			}
		}
	}
}

func TestMessagesAreRealistic(t *testing.T) {
	for name, test := range map[string]struct {
		message     proto.Message
		least, most int // bytes, as containerd's answers to kubelet are
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
		t.Errorf("%d bytes, want %d and hardly more", len(response), largeAnswer)
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
		t.Errorf("%d of %d images", fromRegistry, images)
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
		t.Errorf("%d latencies of %d answers, want %d", len(l.latencies), l.messages, calls)
	}
	if l.elapsed < (calls-1)*time.Second/rate {
		t.Errorf("all was over after %v: the rate was exceeded", l.elapsed)
	}
}

func TestTheFirstErrorEndsALoad(t *testing.T) {
	client := dialStore(t, false)
	missing := step{method: runtimeService + "NoSuchMethod"}
	if _, err := closedLoop(t.Context(), []*grpc.ClientConn{client}, []step{missing}, 4, time.Hour); err == nil {
		t.Error("a load of failing calls has no error")
	}
	if _, err := openLoop(t.Context(), []*grpc.ClientConn{client}, []step{missing}, 1000, 10*time.Millisecond); err == nil {
		t.Error("an open loop of failing calls has no error")
	}
}
