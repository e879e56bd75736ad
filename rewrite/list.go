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
	asked    time.Time // time of the request
	complete bool      // the request has no filter, so the answer lists all images
	named    bool      // the filter is a name
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

// streamImages is listImages for a stream. Each message of the answer has the encoding of a
// ListImages answer. At the end of the stream, streamImages reconciles the ledger.
func (c call) streamImages(ctx context.Context, encoded []byte) (forward []byte, transform func([]byte) ([]byte, error), err error) {
	forward, err = c.resolveFilter(ctx, encoded)
	l := newListing(encoded)
	var all []*runtime.Image
	return forward, func(raw []byte) ([]byte, error) {
		if !c.ledger.MayRestore() {
			l.complete = false // the images in this message are unknown
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

// resolveFilter replaces a name in the filter of ListImages by the ID of the image, if the
// runtime has the image under another reference. CRI-O applies this filter like ImageStatus;
// containerd ignores it. The requests of StreamImages have the same encoding. If the runtime
// fails to answer for the name, resolveFilter returns the error, as ImageStatus does.
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
