package rewrite

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	contents "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// memoryContainerd is containerd's image store in memory, with the images service, the content
// service and the CRI. The CRI has its own view of the names, which events update in order
// (containerd, internal/cri/server/events and store/image). It uses the fake time of the test's
// bubble.
type memoryContainerd struct {
	remote *memoryRuntime // images in the registries

	older     bool          // Delete ignores the target, as before 2.0
	delay     time.Duration // delay of each event
	stuck     bool          // events are not applied
	pullTime  time.Duration
	pullsOn   bool          // cancelled pulls continue
	createFor time.Duration // time between the two reads of the image in CreateContainer
	sandbox   string        // name in the configuration
	unusable  string        // digest of an image for another platform: its tag is stored, and its pull fails

	mutex      sync.Mutex
	records    map[string]*containerd.Record
	blobs      map[string]string // image ID by the digest of a manifest
	view       map[string]string // image ID by name in the view of the CRI
	events     []imageEvent
	containers map[string]*runtime.ContainerConfig
	pulls      sync.WaitGroup // cancelled pulls that continue
}

// imageEvent is a change of a name that the view of the CRI does not have yet.
type imageEvent struct {
	name string
	due  time.Time
}

func newMemoryContainerd() *memoryContainerd {
	return &memoryContainerd{
		remote:     newMemoryRuntime(),
		delay:      3 * time.Millisecond,
		pullTime:   30 * time.Millisecond,
		records:    make(map[string]*containerd.Record),
		blobs:      make(map[string]string),
		view:       make(map[string]string),
		containers: make(map[string]*runtime.ContainerConfig),
	}
}

// invoke is containerd's [Invoke].
func (m *memoryContainerd) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	if namespace := md.Get("containerd-namespace"); strings.HasPrefix(method, "/containerd.") != slices.Equal(namespace, []string{"k8s.io"}) {
		return nil, status.Errorf(codes.FailedPrecondition, "%s in the namespaces %q", method, namespace)
	}
	if strings.HasSuffix(method, "ImageService/PullImage") {
		return handle(request, &runtime.PullImageRequest{}, func(r *runtime.PullImageRequest) (*runtime.PullImageResponse, error) { return m.pull(ctx, r) })
	}
	if strings.HasSuffix(method, "RuntimeService/CreateContainer") {
		return handle(request, &runtime.CreateContainerRequest{}, m.create)
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.follow()
	switch _, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/"); short {
	case "Get":
		return handle(request, &imagesapi.GetImageRequest{}, m.get)
	case "List":
		return handle(request, &imagesapi.ListImagesRequest{}, m.listRecords)
	case "Create":
		return handle(request, &imagesapi.CreateImageRequest{}, m.createRecord)
	case "Update":
		return handle(request, &imagesapi.UpdateImageRequest{}, m.updateRecord)
	case "Delete":
		return handle(request, &imagesapi.DeleteImageRequest{}, m.deleteRecord)
	case "Info":
		return handle(request, &contents.InfoRequest{}, m.info)
	case "ImageStatus":
		return handle(request, &runtime.ImageStatusRequest{}, m.status)
	case "RemoveImage":
		return handle(request, &runtime.RemoveImageRequest{}, m.remove)
	case "ListImages":
		return handle(request, &runtime.ListImagesRequest{}, m.list)
	case "ContainerStatus":
		return handle(request, &runtime.ContainerStatusRequest{}, m.containerStatus)
	case "Status":
		return handle(request, &runtime.StatusRequest{}, func(*runtime.StatusRequest) (*runtime.StatusResponse, error) {
			return &runtime.StatusResponse{Info: map[string]string{"config": fmt.Sprintf(`{"sandboxImage":%q}`, m.sandbox)}}, nil
		})
	case "ListPodSandbox":
		return handle(request, &runtime.ListPodSandboxRequest{}, func(*runtime.ListPodSandboxRequest) (*runtime.ListPodSandboxResponse, error) {
			return &runtime.ListPodSandboxResponse{}, nil
		})
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

func handle[Request, Response proto.Message](encoded []byte, request Request, answer func(Request) (Response, error)) ([]byte, error) {
	if err := proto.Unmarshal(encoded, request); err != nil {
		return nil, status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	response, err := answer(request)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(response)
}

// The images and content services.

func (m *memoryContainerd) get(request *imagesapi.GetImageRequest) (*imagesapi.GetImageResponse, error) {
	record := m.records[request.GetName()]
	if record == nil {
		return nil, status.Errorf(codes.NotFound, "image %q: not found", request.GetName())
	}
	return &imagesapi.GetImageResponse{Image: record}, nil
}

func (m *memoryContainerd) listRecords(request *imagesapi.ListImagesRequest) (*imagesapi.ListImagesResponse, error) {
	response := &imagesapi.ListImagesResponse{}
	for _, name := range slices.Sorted(maps.Keys(m.records)) {
		for _, filter := range request.GetFilters() {
			operator, quoted := filter[4:6], filter[6:]
			value, err := strconv.Unquote(quoted)
			if strings.HasPrefix(filter, `name=="`) {
				operator, value, err = "==", strings.Trim(filter[6:], `"`), nil
			}
			if err != nil || !strings.HasPrefix(filter, "name") {
				return nil, status.Errorf(codes.InvalidArgument, "filter %s: %v", filter, err)
			}
			if operator == "==" && name == value || operator == "~=" && regexp.MustCompile(value).MatchString(name) {
				response.Images = append(response.Images, m.records[name])
			}
		}
	}
	return response, nil
}

func (m *memoryContainerd) createRecord(request *imagesapi.CreateImageRequest) (*imagesapi.CreateImageResponse, error) {
	record := request.GetImage()
	switch {
	case record.GetName() == "" || !strings.HasPrefix(record.GetTarget().GetDigest(), "sha256:"):
		return nil, status.Errorf(codes.InvalidArgument, "image %v", record)
	case m.records[record.GetName()] != nil:
		return nil, status.Errorf(codes.AlreadyExists, "image %q: already exists", record.GetName())
	}
	return &imagesapi.CreateImageResponse{Image: m.store(record)}, nil
}

func (m *memoryContainerd) updateRecord(request *imagesapi.UpdateImageRequest) (*imagesapi.UpdateImageResponse, error) {
	record := request.GetImage()
	if m.records[record.GetName()] == nil {
		return nil, status.Errorf(codes.NotFound, "image %q: not found", record.GetName())
	}
	updated := proto.CloneOf(m.records[record.GetName()])
	for _, path := range request.GetUpdateMask().GetPaths() {
		key, isLabel := strings.CutPrefix(path, "labels.")
		switch {
		case path == "target":
			updated.Target = record.GetTarget()
		case isLabel:
			labels := maps.Clone(updated.GetLabels())
			if labels == nil {
				labels = make(map[string]string)
			}
			labels[key] = record.GetLabels()[key]
			updated.Labels = labels
		default:
			return nil, status.Errorf(codes.InvalidArgument, "field mask %v", request.GetUpdateMask())
		}
	}
	return &imagesapi.UpdateImageResponse{Image: m.store(updated)}, nil
}

func (m *memoryContainerd) deleteRecord(request *imagesapi.DeleteImageRequest) (*emptypb.Empty, error) {
	record := m.records[request.GetName()]
	if record == nil || !m.older && request.GetTarget() != nil && request.GetTarget().GetDigest() != record.GetTarget().GetDigest() {
		return nil, status.Errorf(codes.NotFound, "image %q: not found", request.GetName())
	}
	m.unstore(request.GetName())
	m.collect()
	return &emptypb.Empty{}, nil
}

func (m *memoryContainerd) info(request *contents.InfoRequest) (*contents.InfoResponse, error) {
	if m.blobs[request.GetDigest()] == "" {
		return nil, status.Errorf(codes.NotFound, "content %s: not found", request.GetDigest())
	}
	return &contents.InfoResponse{Info: &contents.Info{Digest: request.GetDigest()}}, nil
}

// store sets a record. The caller of this method and of the following ones holds the mutex.
func (m *memoryContainerd) store(record *containerd.Record) *containerd.Record {
	record = proto.CloneOf(record)
	record.UpdatedAt = timestamppb.Now()
	m.records[record.GetName()] = record
	m.events = append(m.events, imageEvent{record.GetName(), time.Now().Add(m.delay)})
	return record
}

func (m *memoryContainerd) unstore(name string) {
	delete(m.records, name)
	m.events = append(m.events, imageEvent{name, time.Now().Add(m.delay)})
}

// collect removes content that no record refers to.
func (m *memoryContainerd) collect() {
	needed := make(map[string]bool)
	for _, record := range m.records {
		needed[record.GetTarget().GetDigest()] = true
	}
	maps.DeleteFunc(m.blobs, func(digest, _ string) bool { return !needed[digest] })
}

// follow applies the events that are due to the view of the CRI.
func (m *memoryContainerd) follow() {
	for len(m.events) > 0 && !m.stuck && !m.events[0].due.After(time.Now()) {
		m.look(m.events[0].name)
		m.events = m.events[1:]
	}
}

// look updates the view of the CRI from the record of a name. The view stays as it is if the
// content is missing.
func (m *memoryContainerd) look(name string) {
	record := m.records[name]
	if record == nil {
		delete(m.view, name)
		return
	}
	if id := m.blobs[record.GetTarget().GetDigest()]; id != "" {
		m.view[name] = id
	}
}

// CRI.

// pull stores the names of an image one after the other, each in the store and then in the view
// of the CRI.
func (m *memoryContainerd) pull(ctx context.Context, request *runtime.PullImageRequest) (*runtime.PullImageResponse, error) {
	canonical, err := parseDockerRef(request.GetImage().GetImage())
	if err != nil {
		return nil, status.Errorf(codes.Unknown, "failed to parse image reference %q: %v", request.GetImage().GetImage(), err)
	}
	found, ok := m.content(canonical)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "failed to pull and unpack image %q: not found", canonical)
	}
	select {
	case <-time.After(m.pullTime):
	case <-ctx.Done():
		if m.pullsOn {
			m.pulls.Go(func() {
				time.Sleep(m.pullTime)
				_, _ = m.storePulled(canonical, found)
			})
		}
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return m.storePulled(canonical, found)
}

func (m *memoryContainerd) content(canonical string) (content, bool) {
	m.remote.mutex.Lock()
	defer m.remote.mutex.Unlock()
	if found, ok := m.remote.remote[canonical]; ok {
		return found, true
	}
	for name, candidate := range m.remote.remote {
		if imagename.Repository(name)+"@"+candidate.digest == canonical {
			return candidate, true
		}
	}
	return content{}, false
}

func (m *memoryContainerd) storePulled(canonical string, found content) (*runtime.PullImageResponse, error) {
	names := []string{found.id}
	if !strings.Contains(canonical, "@") {
		names = append(names, canonical)
	}
	names = append(names, imagename.Repository(canonical)+"@"+found.digest)
	target := &containerd.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Digest: found.digest, Size: 1000}
	if found.digest == m.unusable {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		m.store(&containerd.Record{Name: canonical, Target: target, Labels: map[string]string{"io.cri-containerd.image": "managed"}})
		return nil, status.Errorf(codes.NotFound, "failed to pull and unpack image %q: no match for platform in manifest: not found", canonical)
	}
	for _, name := range names {
		m.mutex.Lock()
		m.follow()
		m.blobs[found.digest] = found.id
		labels := map[string]string{"io.cri-containerd.image": "managed"}
		if name == m.sandbox && !m.older {
			labels[containerd.PinnedLabel] = "pinned"
		}
		m.store(&containerd.Record{Name: name, Target: target, Labels: labels})
		m.mutex.Unlock()
		time.Sleep(time.Millisecond)
		m.mutex.Lock()
		lost := m.records[name] == nil
		m.look(name)
		m.mutex.Unlock()
		if lost {
			return nil, status.Errorf(codes.NotFound, "failed to create image reference %q: not found", name)
		}
	}
	return &runtime.PullImageResponse{ImageRef: found.id}, nil
}

func (m *memoryContainerd) find(image string) (id string) {
	if canonical, err := parseDockerRef(image); err == nil && m.view[canonical] != "" {
		return m.view[canonical]
	}
	for _, id := range m.view {
		if len(image) > 2 && strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(image, "sha256:")) {
			return id
		}
	}
	return ""
}

func (m *memoryContainerd) image(id string) *runtime.Image {
	image := &runtime.Image{Id: id, Size: 1000}
	for _, name := range slices.Sorted(maps.Keys(m.view)) {
		switch {
		case m.view[name] != id || name == id:
		case strings.Contains(name, "@"):
			image.RepoDigests = append(image.RepoDigests, name)
		default:
			image.RepoTags = append(image.RepoTags, name)
		}
	}
	return image
}

func (m *memoryContainerd) status(request *runtime.ImageStatusRequest) (*runtime.ImageStatusResponse, error) {
	id := m.find(request.GetImage().GetImage())
	if id == "" {
		return &runtime.ImageStatusResponse{}, nil
	}
	return &runtime.ImageStatusResponse{Image: m.image(id)}, nil
}

func (m *memoryContainerd) remove(request *runtime.RemoveImageRequest) (*runtime.RemoveImageResponse, error) {
	id := m.find(request.GetImage().GetImage())
	for name, on := range maps.Clone(m.view) {
		if on == id && id != "" {
			m.unstore(name)
			m.look(name)
		}
	}
	m.collect()
	return &runtime.RemoveImageResponse{}, nil
}

func (m *memoryContainerd) list(*runtime.ListImagesRequest) (*runtime.ListImagesResponse, error) {
	response := &runtime.ListImagesResponse{}
	for _, id := range slices.Compact(slices.Sorted(maps.Values(m.view))) {
		response.Images = append(response.Images, m.image(id))
	}
	return response, nil
}

// create reads the image twice: first in the view of the CRI, and then the record of one of its
// names in the view.
func (m *memoryContainerd) create(request *runtime.CreateContainerRequest) (*runtime.CreateContainerResponse, error) {
	m.mutex.Lock()
	m.follow()
	asked := request.GetConfig().GetImage().GetImage()
	id := m.find(asked)
	image := m.image(id)
	m.mutex.Unlock()
	if id == "" {
		return nil, status.Errorf(codes.NotFound, "failed to resolve image %q: not found", asked)
	}
	time.Sleep(m.createFor)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	name := slices.Min(slices.Concat(image.RepoTags, image.RepoDigests, []string{id}))
	if m.records[name] == nil {
		return nil, status.Errorf(codes.NotFound, "failed to get image from containerd %q: image %q: not found", id, name)
	}
	container := fmt.Sprintf("container-%d", len(m.containers))
	m.containers[container] = proto.CloneOf(request.GetConfig())
	m.containers[container].Image.Image = id
	return &runtime.CreateContainerResponse{ContainerId: container}, nil
}

func (m *memoryContainerd) containerStatus(request *runtime.ContainerStatusRequest) (*runtime.ContainerStatusResponse, error) {
	container := m.containers[request.ContainerId]
	if container == nil {
		return nil, status.Errorf(codes.NotFound, "container %q: not found", request.ContainerId)
	}
	image := m.image(container.Image.Image)
	first := func(names []string) string { return cmp.Or(append(names, image.Id)[0], image.Id) }
	return &runtime.ContainerStatusResponse{Status: &runtime.ContainerStatus{
		Id:       request.ContainerId,
		Image:    &runtime.ImageSpec{Image: first(image.RepoTags), UserSpecifiedImage: container.Image.UserSpecifiedImage},
		ImageRef: first(image.RepoDigests),
		ImageId:  image.Id,
	}}, nil
}

// stored returns the records as lines with the name and the first digits of the target.
func (m *memoryContainerd) stored() []string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m.records)) {
		record := m.records[name]
		line := shortDigest(name) + " " + record.GetTarget().GetDigest()[7:13]
		if containerd.IsPinned(record) {
			line += " pinned"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// shortDigest shortens the digest in a name or ID.
func shortDigest(name string) string {
	before, digest, ok := strings.Cut(name, "sha256:")
	if !ok {
		return name
	}
	return before + digest[:6]
}
