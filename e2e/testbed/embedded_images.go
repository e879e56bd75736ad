package testbed

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageService is the embedded runtime's ImageService. It is safe for
// concurrent use.
type imageService struct {
	runtimeapi.UnimplementedImageServiceServer
	hosts map[string]Host

	mutex  sync.Mutex
	images map[string]*runtimeapi.Image // by ID; a stored image is never modified, only replaced
}

func newImageService(hosts map[string]Host) *imageService {
	return &imageService{hosts: hosts, images: make(map[string]*runtimeapi.Image)}
}

// PullImage fetches the whole image, verifies its digests and stores its names.
func (s *imageService) PullImage(ctx context.Context, request *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	asked := request.GetImage().GetImage()
	named, err := reference.ParseDockerRef(asked)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "failed to parse image reference %q: %v", asked, err)
	}
	image, err := s.fetch(ctx, named, request.GetAuth())
	if err != nil {
		return nil, status.Errorf(pullCode(ctx, err), "failed to pull and unpack image %q: %v", named, err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.add(image)
	return &runtimeapi.PullImageResponse{ImageRef: image.Id}, nil
}

// add stores an image. Its tags are removed from the images that had them before.
func (s *imageService) add(image *runtimeapi.Image) {
	for id, other := range s.images {
		if id == image.Id {
			image.RepoTags = union(other.RepoTags, image.RepoTags)
			image.RepoDigests = union(other.RepoDigests, image.RepoDigests)
			continue
		}
		s.images[id] = &runtimeapi.Image{
			Id: other.Id, Size: other.Size, RepoDigests: other.RepoDigests,
			RepoTags: slices.DeleteFunc(slices.Clone(other.RepoTags), func(tag string) bool { return slices.Contains(image.RepoTags, tag) }),
		}
	}
	s.images[image.Id] = image
}

// ImageStatus returns an empty response if the image does not exist.
func (s *imageService) ImageStatus(_ context.Context, request *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return &runtimeapi.ImageStatusResponse{Image: s.find(request.GetImage().GetImage())}, nil
}

// ListImages ignores the filter, as containerd does.
func (s *imageService) ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return &runtimeapi.ListImagesResponse{Images: slices.Collect(maps.Values(s.images))}, nil
}

// RemoveImage removes an image and all its names, given any of them.
func (s *imageService) RemoveImage(_ context.Context, request *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.images, s.find(request.GetImage().GetImage()).GetId())
	return &runtimeapi.RemoveImageResponse{}, nil
}

// ImageFsInfo is the first call of kubelet's client.
func (s *imageService) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{}, nil
}

// find resolves a reference as containerd does: a digest is an ID; otherwise it tries
// the stored names, then the prefixes of IDs. It returns nil if nothing matches.
func (s *imageService) find(asked string) *runtimeapi.Image {
	if _, err := v1.NewHash(asked); err == nil {
		return s.images[asked]
	}
	if named, err := reference.ParseDockerRef(asked); err == nil {
		for _, image := range s.images {
			if slices.Contains(image.RepoTags, named.String()) || slices.Contains(image.RepoDigests, named.String()) {
				return image
			}
		}
	}
	for id, image := range s.images {
		if asked != "" && strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(asked, "sha256:")) {
			return image
		}
	}
	return nil
}

func union(first, second []string) []string {
	all := slices.Concat(first, second)
	slices.Sort(all)
	return slices.Compact(all)
}
