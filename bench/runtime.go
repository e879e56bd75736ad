package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	_ "image-cri-shim/bench/allocations" // in each process of this program
	"image-cri-shim/proxy/proxytest"
)

const (
	runtimeService = "/runtime.v1.RuntimeService/"
	imageService   = "/runtime.v1.ImageService/"
)

// bytesLabel is the label that a ListContainers of this benchmark selects to
// say how many bytes the answer shall have at least.
const bytesLabel = "bench/bytes"

// store is a container runtime that has everything and does nothing. Its answers
// are encoded before they are asked for, so that what stands in front of it
// weighs as much as possible.
type store struct {
	registry   string
	containers map[int][]byte // the answers to ListContainers, by their least size
	mutex      sync.Mutex     // of containers
	byName     map[string]int // the images, by ID and stored name
	statuses   [][]byte       // the answers to ImageStatus
}

// serveRuntime serves the store on a socket until ctx is done.
func serveRuntime(ctx context.Context, socket, registry string) error {
	runtime := proxytest.NewRuntime(socket)
	if err := newStore(registry).register(runtime); err != nil {
		return err
	}
	if err := runtime.Start(); err != nil {
		return err
	}
	<-ctx.Done()
	return runtime.Stop()
}

func newStore(registry string) *store {
	return &store{registry: registry, containers: map[int][]byte{}, byName: map[string]int{}}
}

func (s *store) register(runtime *proxytest.Runtime) error {
	version := &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "containerd", RuntimeVersion: "v2.4.2", RuntimeApiVersion: "v1"}
	health := &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: true}, {Type: "ContainerdHasNoDeprecationWarnings", Status: true},
	}}}
	list, sandboxes := &runtimeapi.ListImagesResponse{}, &runtimeapi.ListPodSandboxResponse{}
	for i := range images {
		entry := image(i, s.registry)
		list.Images = append(list.Images, entry)
		s.byName[entry.Id], s.byName[entry.RepoTags[0]], s.byName[entry.RepoDigests[0]] = i, i, i
		encoded, err := proto.Marshal(&runtimeapi.ImageStatusResponse{Image: entry})
		if err != nil {
			return err
		}
		s.statuses = append(s.statuses, encoded)
	}
	podStatus, containerStatuses, started := map[string][]byte{}, map[string][]byte{}, make([][]byte, pods)
	for i := range pods {
		sandboxes.Items = append(sandboxes.Items, sandbox(i))
		var err error
		if podStatus[sandboxID(i)], err = proto.Marshal(&runtimeapi.PodSandboxStatusResponse{Status: sandboxStatus(i)}); err != nil {
			return err
		}
		if containerStatuses[containerID(i)], err = proto.Marshal(&runtimeapi.ContainerStatusResponse{Status: containerStatus(i, s.registry)}); err != nil {
			return err
		}
		if started[i], err = proto.Marshal(event(i, s.registry)); err != nil {
			return err
		}
	}
	for method, response := range map[string]proto.Message{
		runtimeService + "Version":         version,
		runtimeService + "Status":          health,
		runtimeService + "ListPodSandbox":  sandboxes,
		runtimeService + "CreateContainer": &runtimeapi.CreateContainerResponse{ContainerId: containerID(pods)},
		imageService + "ListImages":        list,
	} {
		encoded, err := proto.Marshal(response)
		if err != nil {
			return err
		}
		runtime.Handle(method, answer(func([]byte) ([]byte, error) { return encoded, nil }))
	}
	runtime.Handle(runtimeService+"ListContainers", answer(s.listContainers))
	runtime.Handle(runtimeService+"PodSandboxStatus", answer(func(request []byte) ([]byte, error) {
		decoded := &runtimeapi.PodSandboxStatusRequest{}
		return lookUp(podStatus, request, decoded, decoded.GetPodSandboxId)
	}))
	runtime.Handle(runtimeService+"ContainerStatus", answer(func(request []byte) ([]byte, error) {
		decoded := &runtimeapi.ContainerStatusRequest{}
		return lookUp(containerStatuses, request, decoded, decoded.GetContainerId)
	}))
	runtime.Handle(runtimeService+"GetContainerEvents", sendEvents(started))
	runtime.Handle(imageService+"ImageStatus", answer(s.imageStatus))
	runtime.Handle(imageService+"PullImage", answer(s.pullImage))
	return nil
}

// answer makes a handler of what answers one message with another.
func answer(respond func(request []byte) ([]byte, error)) proxytest.Handler {
	return func(stream grpc.ServerStream) error {
		request, err := proxytest.Receive(stream)
		if err != nil {
			return err
		}
		response, err := respond(request)
		if err != nil {
			return err
		}
		return proxytest.Send(stream, response)
	}
}

// lookUp decodes a request and returns what there is under the ID in it.
func lookUp(answers map[string][]byte, request []byte, decoded proto.Message, id func() string) ([]byte, error) {
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	response, ok := answers[id()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "nothing has the ID %q", id())
	}
	return response, nil
}

// listContainers answers with the containers of the node's pods, or with as many
// as make the size that the request selects.
func (s *store) listContainers(request []byte) ([]byte, error) {
	decoded := &runtimeapi.ListContainersRequest{}
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	size, _ := strconv.Atoi(decoded.GetFilter().GetLabelSelector()[bytesLabel])
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if encoded, ok := s.containers[size]; ok {
		return encoded, nil
	}
	var encoded []byte
	for i := 0; i < pods || len(encoded) < size; i++ {
		one, err := proto.Marshal(&runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{container(i)}})
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, one...) // the encoding of a repeated field is that of its parts
	}
	s.containers[size] = encoded
	return encoded, nil
}

// imageStatus answers as containerd does: what is not there is an empty message.
func (s *store) imageStatus(request []byte) ([]byte, error) {
	decoded := &runtimeapi.ImageStatusRequest{}
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	i, ok := s.byName[decoded.GetImage().GetImage()]
	if !ok {
		return nil, nil
	}
	return s.statuses[i], nil
}

func (s *store) pullImage(request []byte) ([]byte, error) {
	decoded := &runtimeapi.PullImageRequest{}
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	i, ok := s.byName[decoded.GetImage().GetImage()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no registry has %q", decoded.GetImage().GetImage())
	}
	return proto.Marshal(&runtimeapi.PullImageResponse{ImageRef: imageID(i)})
}

// sendEvents streams events as fast as they are taken, then ends.
func sendEvents(messages [][]byte) proxytest.Handler {
	return func(stream grpc.ServerStream) error {
		if _, err := proxytest.Receive(stream); err != nil {
			return fmt.Errorf("the request for events: %w", err)
		}
		for i := range events {
			if err := proxytest.Send(stream, messages[i%len(messages)]); err != nil {
				return err
			}
		}
		return nil
	}
}
