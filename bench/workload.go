package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/proxytest"
)

// step is one call of a workload.
type step struct {
	method  string
	request []byte
	stream  bool               // the answer is a stream of messages
	check   func([]byte) error // checks the answer, or the last message of a stream
}

// call makes the call and returns the number of messages in the answer.
func (s step) call(ctx context.Context, client *grpc.ClientConn) (messages int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if !s.stream {
		response, err := proxytest.Invoke(ctx, client, s.method, s.request)
		if err == nil && s.check != nil {
			err = s.check(response)
		}
		return 1, err
	}
	stream, err := proxytest.Open(ctx, client, s.method)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(proxytest.Send(stream, s.request), stream.CloseSend()); err != nil {
		return 0, err
	}
	var last []byte
	for ; ; messages++ {
		message, err := proxytest.Receive(stream)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return messages, err
		}
		last = message
	}
	if messages != events {
		return messages, fmt.Errorf("%d events, want %d", messages, events)
	}
	return messages, s.check(last)
}

// workload is a sequence of calls that is measured on all contenders.
type workload struct {
	Name      string
	Workers   int     // in parallel; of an open loop: during warm-up
	Rate      float64 // calls per second of an open loop; 0: a closed loop
	share     int     // duration, in multiples of size.sampleTime
	hasOpaque bool    // it is compared with opaque calls of its size
	// steps returns the calls, which are repeated. If the contender restores names, the
	// calls ask for the requested names and expect them in the answers.
	steps func(registry string, restores bool) []step
}

// expectPart returns a check that a response contains part and has at least size bytes.
func expectPart(part string, size int) func([]byte) error {
	return func(response []byte) error {
		if len(response) < size || !bytes.Contains(response, []byte(part)) {
			return fmt.Errorf("an answer of %d bytes, want at least %d with %q in it", len(response), size, part)
		}
		return nil
	}
}

// encode encodes a request of the benchmark. It ignores errors, because a step that sends a
// broken request fails its check.
func encode(message proto.Message) []byte {
	encoded, _ := proto.Marshal(message)
	return encoded
}

var versionStep = step{method: runtimeService + "Version", check: expectPart("containerd", 20)}

// listStep returns a call for the containers of the node's pods, or for an answer of at
// least size bytes.
func listStep(size int) step {
	request := &runtimeapi.ListContainersRequest{}
	if size > 0 {
		request.Filter = &runtimeapi.ContainerFilter{LabelSelector: map[string]string{bytesLabel: strconv.Itoa(size)}}
	}
	return step{method: runtimeService + "ListContainers", request: encode(request), check: expectPart(containerID(pods-1), size)}
}

func imageStatusStep(image string, check func([]byte) error) step {
	request := &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}}
	return step{method: imageService + "ImageStatus", request: encode(request), check: check}
}

// nameOf returns the name by which a client of a contender knows an image.
func nameOf(i int, registry string, restores bool) string {
	if restores {
		return userName(i)
	}
	return storedName(i, registry)
}

// largeAnswer is the size of a large answer, in bytes.
const largeAnswer = 8 << 20

func fixedSteps(s ...step) func(string, bool) []step {
	return func(string, bool) []step { return s }
}

var workloads = []workload{
	{Name: "Version, one at a time", Workers: 1, share: 2, steps: fixedSteps(versionStep)},
	{Name: "Version, 32 at once", Workers: 32, share: 2, steps: fixedSteps(versionStep)},
	{Name: "Version, 2,000 a second, from the intended start", Workers: 1, Rate: 2000, share: 2, steps: fixedSteps(versionStep)},
	{Name: "ListContainers of 110, one at a time", Workers: 1, share: 1, steps: fixedSteps(listStep(0))},
	{Name: "ListContainers of 110, 16 at once", Workers: 16, share: 1, steps: fixedSteps(listStep(0))},
	{Name: "ListContainers of 8 MiB, one at a time", Workers: 1, share: 2, steps: fixedSteps(listStep(largeAnswer))},
	{Name: "ListContainers of 8 MiB, 4 at once", Workers: 4, share: 2, steps: fixedSteps(listStep(largeAnswer))},
	{Name: "ListImages of 200, half of them the registry's", Workers: 1, share: 1, hasOpaque: true, steps: listImages},
	{Name: "ImageStatus of a name", Workers: 1, share: 2, hasOpaque: true, steps: statusOfName},
	{Name: "ImageStatus of an ID", Workers: 1, share: 2, hasOpaque: true, steps: statusOfID},
	{Name: "ImageStatus of an unknown name", Workers: 1, share: 1, steps: fixedSteps(imageStatusStep("docker.io/library/unknown:1", expectEmpty))},
	{Name: "ContainerStatus", Workers: 1, share: 2, hasOpaque: true, steps: containerStatuses},
	{Name: "CreateContainer with an ID", Workers: 1, share: 1, steps: createContainers},
	{Name: "GetContainerEvents, 20,000 events", Workers: 1, share: 2, hasOpaque: true, steps: fixedSteps(step{
		method: runtimeService + "GetContainerEvents", stream: true, check: expectPart(containerID((events-1)%pods), 500),
	})},
	{Name: "PullImage of what the registry has", Workers: 1, share: 2, steps: pulls},
	{Name: "kubelet's mix, 4 at once", Workers: 4, share: 2, steps: kubeletMix},
}

func expectEmpty(response []byte) error {
	if len(response) > 0 {
		return fmt.Errorf("an answer of %d bytes for an unknown image", len(response))
	}
	return nil
}

func listImages(registry string, restores bool) []step {
	return []step{{method: imageService + "ListImages", check: expectPart(nameOf(0, registry, restores), images*150)}}
}

func statusOfName(registry string, restores bool) []step {
	name := nameOf(served/2, registry, restores)
	return []step{imageStatusStep(name, expectPart(name, 100))}
}

func statusOfID(registry string, restores bool) []step {
	return []step{imageStatusStep(imageID(served/2), expectPart(nameOf(served/2, registry, restores), 100))}
}

func containerStatuses(registry string, restores bool) []step {
	return []step{containerStatusStep(0, registry, restores)}
}

func containerStatusStep(i int, registry string, restores bool) step {
	return step{
		method:  runtimeService + "ContainerStatus",
		request: encode(&runtimeapi.ContainerStatusRequest{ContainerId: containerID(i)}), check: expectPart(nameOf(i, registry, restores), 900),
	}
}

// pulls ask for an image that the runtime already has. The figure includes everything
// except the transfer of the image.
func pulls(registry string, restores bool) []step {
	request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: nameOf(served/2, registry, restores)}}
	return []step{{method: imageService + "PullImage", request: encode(request), check: expectPart(imageID(served/2), 64)}}
}

func createContainers(registry string, _ bool) []step {
	return []step{{method: runtimeService + "CreateContainer", request: encode(createContainer(0, registry)), check: expectPart(containerID(pods), 64)}}
}

// kubeletMix is one second of kubelet's calls: two relists, one status call for each pod
// and container, and one Status, always in the same order.
func kubeletMix(registry string, restores bool) []step {
	steps := []step{{method: runtimeService + "Status", check: expectPart("NetworkReady", 40)}}
	for range 2 {
		steps = append(steps, listStep(0), step{method: runtimeService + "ListPodSandbox", check: expectPart(sandboxID(pods-1), pods*100)})
	}
	for i := range pods {
		steps = append(steps,
			step{
				method:  runtimeService + "PodSandboxStatus",
				request: encode(&runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandboxID(i)}), check: expectPart(sandboxID(i), 400),
			},
			containerStatusStep(i, registry, restores))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(steps), func(a, b int) { steps[a], steps[b] = steps[b], steps[a] })
	return steps
}
