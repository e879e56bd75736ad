package rewrite

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// images is the runtime's local image store, as one call sees it.
type images struct {
	version string // of the CRI that the client speaks
	invoke  Invoke
}

// status returns what the runtime has under a reference or ID, nil if nothing.
func (i images) status(ctx context.Context, image string) (*runtime.Image, error) {
	response, _, err := i.statusOf(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}})
	return response.GetImage(), err
}

// statusOf returns the answer to request, decoded and as it came.
func (i images) statusOf(ctx context.Context, request *runtime.ImageStatusRequest) (*runtime.ImageStatusResponse, []byte, error) {
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, nil, err
	}
	return i.rawStatus(ctx, encoded)
}

func (i images) rawStatus(ctx context.Context, request []byte) (*runtime.ImageStatusResponse, []byte, error) {
	raw, err := i.invoke(ctx, "/"+i.version+".ImageService/ImageStatus", request)
	if err != nil {
		return nil, nil, err
	}
	response := &runtime.ImageStatusResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return nil, raw, nil // not for us to judge: it is forwarded as it is
	}
	return response, raw, nil
}

// fatal is err where it ends the whole call, nil where another reference may
// still be tried.
func fatal(err error) error {
	if ends(err) {
		return err
	}
	return nil
}

// hasName tells whether the runtime has the image under a canonical reference.
func hasName(image *runtime.Image, reference string) bool {
	return slices.Contains(image.RepoTags, reference) || slices.Contains(image.RepoDigests, reference)
}

// digestsOf returns the references with a digest that an image has in a repository.
func digestsOf(image *runtime.Image, in string) []string {
	var digests []string
	for _, reference := range image.GetRepoDigests() {
		if repository(reference) == in {
			digests = append(digests, reference)
		}
	}
	return digests
}

// ends tells the errors after which asking the runtime again is of no use.
func ends(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		return true
	}
	return false
}
