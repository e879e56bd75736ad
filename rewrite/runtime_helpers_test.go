package rewrite

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// memoryRuntime is a runtime in memory, without processes. It names images like containerd
// (internal/cri/store/image and server/images), or like CRI-O if crio is set. It handles encoded
// CRI messages of both versions.
type memoryRuntime struct {
	crio bool

	mutex      sync.Mutex
	remote     map[string]content             // images in registries, by canonical reference with a tag
	logins     map[string]*runtime.AuthConfig // required credentials by host; other hosts are public
	names      map[string]string              // IDs of local images by canonical reference
	ids        map[string]bool
	containers map[string]*runtime.ContainerConfig
	created    int
	made       map[string]made // images of the containers, by container ID
	calls      []string        // "PullImage sealos.hub:5000/library/nginx:1.25"
	requests   [][]byte
	down       error  // if set, the error of every call
	broken     string // host of a registry from which pulls fail; empty for none
	leaves     bool   // such a pull stores the image and then fails
}

// made is the image of a container at the time of its creation. CRI-O always shows this name and
// this digest.
type made struct{ id, name, digest string }

// content is an image in a registry.
type content struct{ id, digest string }

func newContent(seed string) content {
	sum := func(s string) string {
		digest := sha256.Sum256([]byte(s))
		return hex.EncodeToString(digest[:])
	}
	return content{id: "sha256:" + sum("config of "+seed), digest: "sha256:" + sum("manifest of "+seed)}
}

func newMemoryRuntime() *memoryRuntime {
	return &memoryRuntime{
		remote:     make(map[string]content),
		logins:     make(map[string]*runtime.AuthConfig),
		names:      make(map[string]string),
		ids:        make(map[string]bool),
		containers: make(map[string]*runtime.ContainerConfig),
		made:       make(map[string]made),
	}
}

// invoke is the runtime's [Invoke].
func (m *memoryRuntime) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	if m.down != nil {
		return nil, m.down
	}
	m.requests = append(m.requests, request)
	_, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch short {
	case "PullImage":
		return answerWith(m, short, request, &runtime.PullImageRequest{}, m.pull)
	case "ImageStatus":
		return answerWith(m, short, request, &runtime.ImageStatusRequest{}, m.status)
	case "RemoveImage":
		return answerWith(m, short, request, &runtime.RemoveImageRequest{}, m.remove)
	case "ListImages":
		return answerWith(m, short, request, &runtime.ListImagesRequest{}, m.list)
	case "CreateContainer":
		return answerWith(m, short, request, &runtime.CreateContainerRequest{}, m.create)
	case "ListContainers":
		return answerWith(m, short, request, &runtime.ListContainersRequest{}, m.listContainers)
	case "Version":
		return answerWith(m, short, request, &runtime.VersionRequest{}, m.getVersion)
	case "ContainerStatus":
		return answerWith(m, short, request, &runtime.ContainerStatusRequest{}, m.containerStatus)
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

func answerWith[Request, Response proto.Message](m *memoryRuntime, method string, encoded []byte, request Request, answer func(Request) (Response, error)) ([]byte, error) {
	if err := proto.Unmarshal(encoded, request); err != nil {
		return nil, status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	named, _ := proto.Message(request).(interface{ GetImage() *runtime.ImageSpec })
	if named != nil {
		m.calls = append(m.calls, method+" "+named.GetImage().GetImage())
	} else {
		m.calls = append(m.calls, method)
	}
	response, err := answer(request)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(response)
}

// parseDockerRef parses a name as containerd does (distribution/reference).
func parseDockerRef(image string) (string, error) {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

func (m *memoryRuntime) find(image string) (id string) {
	if m.ids[image] {
		return image
	}
	if canonical, err := parseDockerRef(image); err == nil && m.names[canonical] != "" {
		return m.names[canonical]
	}
	if len(image) < 3 {
		return ""
	}
	for id := range m.ids {
		if strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(image, "sha256:")) {
			return id
		}
	}
	return ""
}

func (m *memoryRuntime) image(id string) *runtime.Image {
	image := &runtime.Image{Id: id, Size: 1000}
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		if m.names[name] != id {
			continue
		}
		if strings.Contains(name, "@") {
			image.RepoDigests = append(image.RepoDigests, name)
		} else {
			image.RepoTags = append(image.RepoTags, name)
		}
	}
	return image
}

func (m *memoryRuntime) pull(request *runtime.PullImageRequest) (*runtime.PullImageResponse, error) {
	canonical, err := parseDockerRef(request.GetImage().GetImage())
	if err != nil {
		return nil, status.Errorf(codes.Unknown, "failed to parse image reference %q: %v", request.GetImage().GetImage(), err)
	}
	if login := m.logins[imagename.Host(canonical)]; login != nil && !loggedIn(login, request.Auth) {
		return nil, status.Errorf(codes.Unknown, "failed to pull and unpack image %q: 401 Unauthorized", canonical)
	}
	found, ok := m.remote[canonical]
	if !ok {
		if _, digest, isDigest := strings.Cut(canonical, "@"); isDigest {
			for name, candidate := range m.remote {
				if imagename.Repository(name) == imagename.Repository(canonical) && candidate.digest == digest {
					found, ok = candidate, true
				}
			}
		}
	}
	if !ok {
		return nil, status.Errorf(codes.NotFound, "failed to pull and unpack image %q: not found", canonical)
	}
	id := found.id
	if m.crio {
		id = strings.TrimPrefix(id, "sha256:")
	}
	failure := status.Errorf(codes.Unknown, "failed to pull and unpack image %q: unexpected EOF", canonical)
	if m.broken == imagename.Host(canonical) && !m.leaves {
		return nil, failure
	}
	m.ids[id] = true
	m.names[canonical] = id
	m.names[imagename.Repository(canonical)+"@"+found.digest] = id
	if m.broken == imagename.Host(canonical) {
		return nil, failure
	}
	return &runtime.PullImageResponse{ImageRef: id}, nil
}

// loggedIn implements containerd's ParseAuth, which ignores credentials for another host.
func loggedIn(login, auth *runtime.AuthConfig) bool {
	if auth == nil {
		return false
	}
	if auth.ServerAddress != "" {
		parsed, err := url.Parse(auth.ServerAddress)
		if err != nil || parsed.Host != login.ServerAddress {
			return false
		}
	}
	return auth.Username == login.Username && auth.Password == login.Password
}

func (m *memoryRuntime) status(request *runtime.ImageStatusRequest) (*runtime.ImageStatusResponse, error) {
	id := m.find(request.GetImage().GetImage())
	if id == "" {
		return &runtime.ImageStatusResponse{}, nil
	}
	return &runtime.ImageStatusResponse{Image: m.image(id)}, nil
}

func (m *memoryRuntime) remove(request *runtime.RemoveImageRequest) (*runtime.RemoveImageResponse, error) {
	asked := request.GetImage().GetImage()
	id := m.find(asked)
	if id == "" {
		return &runtime.RemoveImageResponse{}, nil
	}
	canonical, _ := parseDockerRef(asked)
	if m.crio && m.names[canonical] == id {
		delete(m.names, canonical)
		if image := m.image(id); len(image.RepoTags) > 0 {
			return &runtime.RemoveImageResponse{}, nil
		}
	}
	for name, named := range maps.Clone(m.names) {
		if named == id {
			delete(m.names, name)
		}
	}
	delete(m.ids, id)
	return &runtime.RemoveImageResponse{}, nil
}

func (m *memoryRuntime) list(request *runtime.ListImagesRequest) (*runtime.ListImagesResponse, error) {
	response := &runtime.ListImagesResponse{}
	if asked := request.GetFilter().GetImage().GetImage(); m.crio && asked != "" {
		if id := m.find(asked); id != "" {
			response.Images = append(response.Images, m.image(id))
		}
		return response, nil
	}
	for _, id := range slices.Sorted(maps.Keys(m.ids)) {
		response.Images = append(response.Images, m.image(id))
	}
	return response, nil
}

func (m *memoryRuntime) create(request *runtime.CreateContainerRequest) (*runtime.CreateContainerResponse, error) {
	image := request.GetConfig().GetImage().GetImage()
	id := m.find(image)
	if id == "" {
		return nil, status.Errorf(codes.NotFound, "failed to resolve image %q: not found", image)
	}
	container := fmt.Sprintf("container-%d", m.created)
	m.created++
	m.containers[container] = request.Config
	stored := m.image(id)
	of := made{id: id, name: first(stored.RepoTags, ""), digest: first(stored.RepoDigests, id)}
	if slices.Contains(stored.RepoDigests, image) {
		of.digest = image
	}
	m.made[container] = of
	return &runtime.CreateContainerResponse{ContainerId: container}, nil
}

func first(names []string, otherwise string) string { return append(slices.Clone(names), otherwise)[0] }

// containerStatus shows no user_specified_image, which containerd shows only if the image has no
// tag.
func (m *memoryRuntime) containerStatus(request *runtime.ContainerStatusRequest) (*runtime.ContainerStatusResponse, error) {
	config := m.containers[request.ContainerId]
	if config == nil {
		return nil, status.Errorf(codes.NotFound, "container %q: not found", request.ContainerId)
	}
	of := m.made[request.ContainerId]
	response := &runtime.ContainerStatus{Id: request.ContainerId, ImageId: of.id, Mounts: config.Mounts}
	if m.crio {
		response.Image, response.ImageRef = &runtime.ImageSpec{Image: of.name}, of.digest
		return &runtime.ContainerStatusResponse{Status: response}, nil
	}
	image := &runtime.Image{}
	if m.ids[of.id] {
		image = m.image(of.id)
	}
	response.Image, response.ImageRef = config.Image, first(image.RepoDigests, of.id)
	if len(image.RepoTags) > 0 {
		response.Image = &runtime.ImageSpec{Image: image.RepoTags[0]}
	}
	return &runtime.ContainerStatusResponse{Status: response}, nil
}

// listContainers shows the image string in the CreateContainer request.
func (m *memoryRuntime) listContainers(request *runtime.ListContainersRequest) (*runtime.ListContainersResponse, error) {
	response := &runtime.ListContainersResponse{}
	for _, id := range slices.Sorted(maps.Keys(m.containers)) {
		if only := request.GetFilter().GetId(); only != "" && only != id {
			continue
		}
		container := &runtime.Container{Id: id, Image: m.containers[id].Image, ImageRef: m.made[id].id}
		if m.crio {
			container.Image = &runtime.ImageSpec{Image: container.Image.Image}
			container.ImageRef, container.ImageId = m.made[id].digest, m.made[id].id
		}
		response.Containers = append(response.Containers, container)
	}
	return response, nil
}

func (m *memoryRuntime) getVersion(*runtime.VersionRequest) (*runtime.VersionResponse, error) {
	if m.crio {
		return &runtime.VersionResponse{RuntimeName: "cri-o"}, nil
	}
	return &runtime.VersionResponse{RuntimeName: "containerd"}, nil
}

// seen returns the calls since the last call of seen, and the last request of each method.
func (m *memoryRuntime) seen() []string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

func (m *memoryRuntime) lastRequest() []byte {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.requests[len(m.requests)-1]
}

// client makes the calls of a CRI client through a rewriter or, without one, directly to the
// runtime.
type client struct {
	t        *testing.T
	version  string
	runtime  *memoryRuntime
	rewriter *Rewriter
}

// call sends a request and decodes the answer into response.
func (c client) call(ctx context.Context, service, method string, request, response proto.Message) error {
	c.t.Helper()
	encoded, err := proto.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	raw, err := c.raw(ctx, service, method, encoded)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(raw, response); err != nil {
		c.t.Fatalf("%s: the answer can't be decoded: %v", method, err)
	}
	return nil
}

func (c client) raw(ctx context.Context, service, method string, request []byte) ([]byte, error) {
	full := "/" + cmp.Or(c.version, "runtime.v1") + "." + service + "/" + method
	if c.rewriter == nil {
		return c.runtime.invoke(ctx, full, request)
	}
	handle, ok := c.rewriter.Unary()[full]
	if !ok {
		c.t.Fatalf("%s is not intercepted", full)
	}
	return handle(ctx, request, c.runtime.invoke)
}

func (c client) pull(image string, auth *runtime.AuthConfig) (string, error) {
	c.t.Helper()
	response := &runtime.PullImageResponse{}
	err := c.call(c.t.Context(), "ImageService", "PullImage", &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}, Auth: auth}, response)
	return response.ImageRef, err
}

func (c client) mustPull(image string) string {
	c.t.Helper()
	id, err := c.pull(image, nil)
	if err != nil {
		c.t.Fatalf("pull %s: %v", image, err)
	}
	return id
}

func (c client) status(image string) *runtime.Image {
	c.t.Helper()
	response := &runtime.ImageStatusResponse{}
	if err := c.call(c.t.Context(), "ImageService", "ImageStatus", &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}}, response); err != nil {
		c.t.Fatalf("status of %s: %v", image, err)
	}
	return response.Image
}

func (c client) remove(image string) {
	c.t.Helper()
	if err := c.call(c.t.Context(), "ImageService", "RemoveImage", &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: image}}, &runtime.RemoveImageResponse{}); err != nil {
		c.t.Fatalf("remove %s: %v", image, err)
	}
}

func (c client) list(filter string) []*runtime.Image {
	c.t.Helper()
	request := &runtime.ListImagesRequest{}
	if filter != "" {
		request.Filter = &runtime.ImageFilter{Image: &runtime.ImageSpec{Image: filter}}
	}
	response := &runtime.ListImagesResponse{}
	if err := c.call(c.t.Context(), "ImageService", "ListImages", request, response); err != nil {
		c.t.Fatalf("list %q: %v", filter, err)
	}
	return response.Images
}

// names returns an image as one line, for comparisons.
func names(image *runtime.Image) string {
	if image == nil {
		return "nothing"
	}
	shorten := func(references []string) string {
		short := slices.Clone(references)
		for i, name := range short {
			if repository, digest, ok := strings.Cut(name, "@sha256:"); ok {
				short[i] = repository + "@" + digest[:6]
			}
		}
		slices.Sort(short)
		return strings.Join(short, " ")
	}
	return fmt.Sprintf("%.6s [%s] [%s]", strings.TrimPrefix(image.Id, "sha256:"), shorten(image.RepoTags), shorten(image.RepoDigests))
}

func allNames(images []*runtime.Image) []string {
	lines := make([]string, len(images))
	for i, image := range images {
		lines[i] = names(image)
	}
	slices.Sort(lines)
	return lines
}
