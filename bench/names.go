package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	contents "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/proxytest"
)

const (
	namesService   = "/containerd.services.images.v1.Images/"
	contentService = "/containerd.services.content.v1.Content/"
)

// record is an image record of containerd's images service, which is one name of an image.
type record struct {
	*imagesapi.Image
	image int
}

// addNames adds the names that a pull of an image creates: its tag, its digest and its ID.
// It reports whether any of them is new. The caller must hold the mutex.
func (s *store) addNames(i int) (added bool) {
	for _, name := range []string{storedName(i, s.registry), storedDigest(i, s.registry), imageID(i)} {
		if _, ok := s.records[name]; ok {
			continue
		}
		added = true
		s.put(&imagesapi.Image{
			Name:   name,
			Target: &types.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: imageDigest(i), Size: 1024},
			Labels: map[string]string{"io.cri-containerd.image": "managed"},
		}, i)
	}
	return added
}

func (s *store) put(image *imagesapi.Image, i int) {
	image.UpdatedAt = timestamppb.Now()
	s.records[image.Name] = &record{Image: image, image: i}
}

// image returns a CRI image with its current names. The caller must hold the mutex.
func (s *store) image(i int) *runtimeapi.Image {
	entry := image(i, s.registry)
	entry.RepoTags, entry.RepoDigests = nil, nil
	for name, of := range s.records {
		switch {
		case of.image != i || name == imageID(i):
		case strings.Contains(name, "@"):
			entry.RepoDigests = append(entry.RepoDigests, name)
		default:
			entry.RepoTags = append(entry.RepoTags, name)
		}
	}
	slices.Sort(entry.RepoTags)
	slices.Sort(entry.RepoDigests)
	return entry
}

// refresh encodes the answers with an image's names again. The caller must hold the mutex.
func (s *store) refresh(i int) (err error) {
	entry := s.image(i)
	s.list = nil
	if s.statuses[i], err = proto.Marshal(&runtimeapi.ImageStatusResponse{Image: entry}); err != nil || i >= pods {
		return err
	}
	// The image's container shows the first name of each kind.
	shown := containerStatus(i, s.registry)
	if len(entry.RepoTags) > 0 {
		shown.Image.Image = entry.RepoTags[0]
	}
	if len(entry.RepoDigests) > 0 {
		shown.ImageRef = entry.RepoDigests[0]
	}
	if s.status[containerID(i)], err = proto.Marshal(&runtimeapi.ContainerStatusResponse{Status: shown}); err != nil {
		return err
	}
	s.started[i], err = proto.Marshal(event(i, shown))
	return err
}

// registerNames registers the methods of containerd's own API that keep names. CRI shows
// their changes immediately.
func (s *store) registerNames(runtime *proxytest.Runtime) {
	handle := func(method string, respond func(request []byte) (proto.Message, error)) {
		runtime.Handle(method, answer(func(request []byte) ([]byte, error) {
			response, err := respond(request)
			if err != nil {
				return nil, err
			}
			return proto.Marshal(response)
		}))
	}
	handle(namesService+"Get", s.getName)
	handle(namesService+"List", s.listNames)
	handle(namesService+"Create", s.createName)
	handle(namesService+"Update", s.updateName)
	handle(namesService+"Delete", s.deleteName)
	handle(contentService+"Info", s.contentInfo)
}

func (s *store) getName(raw []byte) (proto.Message, error) {
	request := &imagesapi.GetImageRequest{}
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, err
	}
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	found, ok := s.records[request.Name]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "image %q: not found", request.Name)
	}
	return &imagesapi.GetImageResponse{Image: found.Image}, nil
}

// listNames supports only filters of names: name==... and name~=... with a quoted value.
func (s *store) listNames(raw []byte) (proto.Message, error) {
	request := &imagesapi.ListImagesRequest{}
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, err
	}
	selects := make([]func(string) bool, 0, len(request.Filters))
	for _, filter := range request.Filters {
		selected, err := nameFilter(filter)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		selects = append(selects, selected)
	}
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	response := &imagesapi.ListImagesResponse{}
	for _, name := range slices.Sorted(maps.Keys(s.records)) {
		if len(selects) == 0 || slices.ContainsFunc(selects, func(selected func(string) bool) bool { return selected(name) }) {
			response.Images = append(response.Images, s.records[name].Image)
		}
	}
	return response, nil
}

func nameFilter(filter string) (func(name string) bool, error) {
	operator := "=="
	field, quoted, ok := strings.Cut(filter, operator)
	if !ok {
		operator = "~="
		field, quoted, ok = strings.Cut(filter, operator)
	}
	value, err := strconv.Unquote(quoted)
	if !ok || field != "name" || err != nil {
		return nil, fmt.Errorf("unknown filter %q", filter)
	}
	if operator == "==" {
		return func(name string) bool { return name == value }, nil
	}
	expression, err := regexp.Compile(value)
	if err != nil {
		return nil, err
	}
	return expression.MatchString, nil
}

func (s *store) createName(raw []byte) (proto.Message, error) {
	request := &imagesapi.CreateImageRequest{}
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, ok := s.records[request.Image.GetName()]; ok {
		return nil, status.Errorf(codes.AlreadyExists, "image %q: already exists", request.Image.GetName())
	}
	return &imagesapi.CreateImageResponse{Image: request.Image}, s.change(request.Image)
}

func (s *store) updateName(raw []byte) (proto.Message, error) {
	request := &imagesapi.UpdateImageRequest{}
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return &imagesapi.UpdateImageResponse{Image: request.Image}, s.change(request.Image)
}

// change sets the target of a name. The caller must hold the mutex.
func (s *store) change(named *imagesapi.Image) error {
	for i := range images {
		if imageDigest(i) == named.GetTarget().GetDigest() {
			s.put(named, i)
			return s.refresh(i)
		}
	}
	return status.Errorf(codes.NotFound, "content %q: not found", named.GetTarget().GetDigest())
}

func (s *store) deleteName(raw []byte) (proto.Message, error) {
	request := &imagesapi.DeleteImageRequest{}
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found, ok := s.records[request.Name]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "image %q: not found", request.Name)
	}
	delete(s.records, request.Name)
	return &emptypb.Empty{}, s.refresh(found.image)
}

// contentInfo answers successfully for any digest, because no content is missing here.
func (s *store) contentInfo(raw []byte) (proto.Message, error) {
	request := &contents.InfoRequest{}
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, err
	}
	return &contents.InfoResponse{Info: &contents.Info{Digest: request.Digest, Size: 1024}}, nil
}
