package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	_ "image-cri-shim/bench/allocations" // reports the allocations of each role of this program
	"image-cri-shim/proxy/proxytest"
)

const (
	runtimeService = "/runtime.v1.RuntimeService/"
	imageService   = "/runtime.v1.ImageService/"
)

// bytesLabel is the label in the selector of ListContainers with which the benchmark sets
// the minimum size of the answer, in bytes.
const bytesLabel = "bench/bytes"

// opaqueVersion is a version of CRI that does not exist. The runtime answers its methods like
// those of v1. A proxy does not know them and has no reason to read their messages.
const opaqueVersion = "runtime.v0"

// opaque returns the opaque counterpart of a method of CRI v1.
func opaque(method string) string {
	return strings.Replace(method, "/runtime.v1.", "/"+opaqueVersion+".", 1)
}

// store is a container runtime with fixed contents that does no work. Its answers are
// encoded before they are requested, so that a proxy's share of the time is as large as
// possible.
type store struct {
	registry   string
	remote     map[string]int     // the images that can be pulled, by name
	answers    map[string][]byte  // by method, for methods with one answer to all requests
	podStatus  map[string][]byte  // the answers to PodSandboxStatus, by ID
	mutex      sync.RWMutex       // of the fields below
	containers map[int][]byte     // the answers to ListContainers, by minimum size
	records    map[string]*record // the names of images, as containerd keeps them
	statuses   [][]byte           // the answers to ImageStatus, by image
	list       []byte             // the answer to ListImages; nil after a change
	status     map[string][]byte  // the answers to ContainerStatus, by ID
	started    [][]byte           // the events
}

// serveRuntime serves a store on a socket until ctx is done. With keepsNames it keeps names
// as containerd does, and has the registry's images only after they are pulled.
func serveRuntime(ctx context.Context, socket, registry string, keepsNames bool) error {
	runtime := proxytest.NewRuntime(socket)
	s, err := newStore(registry, keepsNames)
	if err != nil {
		return err
	}
	s.register(runtime)
	if keepsNames {
		s.registerNames(runtime)
	}
	if err := runtime.Start(); err != nil {
		return err
	}
	<-ctx.Done()
	return runtime.Stop()
}

// newStore returns a store with all images, or without the images of the
// registry.
func newStore(registry string, withoutRegistrys bool) (*store, error) {
	s := &store{
		registry:   registry,
		remote:     map[string]int{},
		answers:    map[string][]byte{},
		podStatus:  map[string][]byte{},
		containers: map[int][]byte{},
		records:    map[string]*record{},
		statuses:   make([][]byte, images),
		status:     map[string][]byte{},
		started:    make([][]byte, pods),
	}
	for i := range images {
		s.remote[storedName(i, registry)] = i
		if i >= served || !withoutRegistrys {
			s.addNames(i)
		}
		if err := s.refresh(i); err != nil {
			return nil, err
		}
	}
	return s, s.encodeConstants()
}

// encodeConstants encodes the answers that never change.
func (s *store) encodeConstants() (err error) {
	version := &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "containerd", RuntimeVersion: "v2.4.2", RuntimeApiVersion: "v1"}
	health := &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: true}, {Type: "ContainerdHasNoDeprecationWarnings", Status: true},
	}}}
	sandboxes := &runtimeapi.ListPodSandboxResponse{}
	for i := range pods {
		sandboxes.Items = append(sandboxes.Items, sandbox(i))
		if s.podStatus[sandboxID(i)], err = proto.Marshal(&runtimeapi.PodSandboxStatusResponse{Status: sandboxStatus(i)}); err != nil {
			return err
		}
	}
	for method, response := range map[string]proto.Message{
		runtimeService + "Version":         version,
		runtimeService + "Status":          health,
		runtimeService + "ListPodSandbox":  sandboxes,
		runtimeService + "CreateContainer": &runtimeapi.CreateContainerResponse{ContainerId: containerID(pods)},
	} {
		if s.answers[method], err = proto.Marshal(response); err != nil {
			return err
		}
	}
	return nil
}

// register registers the methods of CRI and their opaque counterparts.
func (s *store) register(runtime *proxytest.Runtime) {
	handle := func(method string, handler proxytest.Handler) {
		runtime.Handle(method, handler)
		runtime.Handle(opaque(method), handler)
	}
	for method, encoded := range s.answers {
		handle(method, answer(func([]byte) ([]byte, error) { return encoded, nil }))
	}
	handle(runtimeService+"ListContainers", answer(s.listContainers))
	handle(runtimeService+"PodSandboxStatus", answer(func(request []byte) ([]byte, error) {
		decoded := &runtimeapi.PodSandboxStatusRequest{}
		return s.lookUp(s.podStatus, request, decoded, decoded.GetPodSandboxId)
	}))
	handle(runtimeService+"ContainerStatus", answer(func(request []byte) ([]byte, error) {
		decoded := &runtimeapi.ContainerStatusRequest{}
		return s.lookUp(s.status, request, decoded, decoded.GetContainerId)
	}))
	handle(runtimeService+"GetContainerEvents", s.sendEvents)
	handle(imageService+"ListImages", answer(s.listImages))
	handle(imageService+"ImageStatus", answer(s.imageStatus))
	handle(imageService+"PullImage", answer(s.pullImage))
}

// answer returns a handler that answers one message with another.
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

// lookUp decodes a request and returns the answer for the ID in it.
func (s *store) lookUp(answers map[string][]byte, request []byte, decoded proto.Message, id func() string) ([]byte, error) {
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	s.mutex.RLock()
	response, ok := answers[id()]
	s.mutex.RUnlock()
	if !ok {
		return nil, status.Errorf(codes.NotFound, "unknown ID %q", id())
	}
	return response, nil
}

// listContainers answers with the containers of the node's pods, or with as many as it
// takes to reach the size in the request.
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
		encoded = append(encoded, one...) // a repeated field is encoded as its elements in sequence
	}
	s.containers[size] = encoded
	return encoded, nil
}

// imageStatus answers as containerd does: for an unknown image with an empty message.
func (s *store) imageStatus(request []byte) ([]byte, error) {
	decoded := &runtimeapi.ImageStatusRequest{}
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	named, ok := s.records[decoded.GetImage().GetImage()]
	if !ok {
		return nil, nil
	}
	return s.statuses[named.image], nil
}

func (s *store) listImages([]byte) ([]byte, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.list == nil {
		for i := range images {
			if _, ok := s.records[imageID(i)]; !ok {
				continue
			}
			encoded, err := proto.Marshal(&runtimeapi.ListImagesResponse{Images: []*runtimeapi.Image{s.image(i)}})
			if err != nil {
				return nil, err
			}
			s.list = append(s.list, encoded...)
		}
	}
	return s.list, nil
}

func (s *store) pullImage(request []byte) ([]byte, error) {
	decoded := &runtimeapi.PullImageRequest{}
	if err := proto.Unmarshal(request, decoded); err != nil {
		return nil, err
	}
	i, ok := s.remote[decoded.GetImage().GetImage()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no registry has %q", decoded.GetImage().GetImage())
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.addNames(i) {
		if err := s.refresh(i); err != nil {
			return nil, err
		}
	}
	return proto.Marshal(&runtimeapi.PullImageResponse{ImageRef: imageID(i)})
}

// sendEvents streams events as fast as the client receives them, and then ends.
func (s *store) sendEvents(stream grpc.ServerStream) error {
	if _, err := proxytest.Receive(stream); err != nil {
		return fmt.Errorf("receive the request for events: %w", err)
	}
	s.mutex.RLock()
	messages := slices.Clone(s.started)
	s.mutex.RUnlock()
	for i := range events {
		if err := proxytest.Send(stream, messages[i%len(messages)]); err != nil {
			return err
		}
	}
	return nil
}
