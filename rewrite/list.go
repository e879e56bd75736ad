package rewrite

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// listing is one request for a list of images.
type listing struct {
	asked    time.Time
	complete bool // it has no filter: the answer has all images
	named    bool // it has a name as a filter
}

func newListing(encoded []byte) listing {
	request := &runtime.ListImagesRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return listing{asked: time.Now()}
	}
	filter := request.GetFilter().GetImage()
	return listing{asked: time.Now(), complete: filter.GetImage() == "", named: isNamed(filter)}
}

// listImages resolves the name in the filter and restores the names in the answer.
func (c call) listImages(ctx context.Context, encoded []byte) ([]byte, error) {
	request, err := c.resolveFilter(ctx, encoded)
	if err != nil {
		return nil, err
	}
	l := newListing(encoded)
	response, err := c.forward(ctx, request)
	if err != nil {
		return nil, err
	}
	return c.restoreList(response, l)
}

// streamImages does so for each message of an answer, which looks like a whole answer to
// ListImages on the wire. The ledger is reconciled at the end of the stream.
func (c call) streamImages(ctx context.Context, encoded []byte) (forward []byte, transform func([]byte) ([]byte, error), err error) {
	forward, err = c.resolveFilter(ctx, encoded)
	l := newListing(encoded)
	var all []*runtime.Image
	return forward, func(raw []byte) ([]byte, error) {
		if !c.ledger.MayRestore() {
			l.complete = false // some messages may not be seen
			return raw, nil
		}
		if raw == nil {
			if l.complete {
				c.reconcile(all, l.asked)
			}
			return nil, nil
		}
		response := &runtime.ListImagesResponse{}
		if proto.Unmarshal(raw, response) != nil {
			l.complete = false
			return raw, nil
		}
		for _, image := range response.Images {
			all = append(all, &runtime.Image{Id: image.Id, RepoTags: image.RepoTags, RepoDigests: image.RepoDigests})
		}
		return c.restoreImages(response, raw), nil
	}, err
}

func (c call) reconcile(images []*runtime.Image, asked time.Time) {
	if err := c.ledger.Reconcile(images, asked); err != nil {
		c.warn(err)
	}
}

// resolveFilter makes the filter of ListImages or StreamImages, which look the
// same on the wire, name what the runtime has. (CRI-O answers it like
// ImageStatus, containerd ignores it.) If the runtime fails to answer for the name,
// that is the answer, as in ImageStatus.
func (c call) resolveFilter(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.ListImagesRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return encoded, nil
	}
	asked := request.GetFilter().GetImage().GetImage()
	name, err := imagename.Parse(asked)
	if err != nil {
		return encoded, nil
	}
	found, err := c.resolveName(ctx, asked, name, false)
	switch {
	case status.Code(err) == codes.NotFound:
		return encoded, nil
	case err != nil:
		return nil, err
	case found.hidden:
		request.Filter.Image.Image = noImage
	case found.own:
		return encoded, nil
	default:
		request.Filter.Image.Image = found.image().Id
	}
	return proto.Marshal(request)
}

// noImage is an ID that no image has.
const noImage = "0000000000000000000000000000000000000000000000000000000000000000"
