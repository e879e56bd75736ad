// Package containerd is a client of the part of containerd's own API that keeps the
// names of images. containerd serves it on the socket that serves CRI too.
//
//	images := containerd.Images{Invoke: invoke}
//	record, err := images.Get(ctx, "docker.io/library/nginx:1.25")
//
// In containerd an image is a name and the descriptor of its manifest or index, a
// [Record] here. The image of CRI is made of all names whose descriptors lead to
// one configuration; CRI follows changes of the names within milliseconds.
//
// Sources: api/services/images/v1/images.proto and api/services/content/v1/content.proto
// in github.com/containerd/containerd/api.
package containerd

import (
	"context"
	"maps"
	"slices"

	contents "github.com/containerd/containerd/api/services/content/v1"
	images "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"image-cri-shim/proxy/intercept"
)

// Record is a name of an image, as containerd stores it.
type Record = images.Image

// Descriptor is the target of a record: a manifest or an index.
type Descriptor = types.Descriptor

// PinnedLabel marks a record that kubelet must not remove, by the value "pinned"
// (containerd, internal/cri/labels). containerd 2 gives it to the image that sandboxes run.
const PinnedLabel = "io.cri-containerd.pinned"

// IsPinned reports whether containerd has pinned a record.
func IsPinned(record *Record) bool { return record.GetLabels()[PinnedLabel] == "pinned" }

// Images is a client of the images service, in the namespace that CRI uses. It is safe
// for concurrent use. Invoke sends the outgoing metadata of its context along.
type Images struct{ Invoke intercept.Invoke }

const (
	imagesService  = "/containerd.services.images.v1.Images/"
	contentService = "/containerd.services.content.v1.Content/"

	namespaceKey = "containerd-namespace" // pkg/namespaces/grpc.go
	namespace    = "k8s.io"               // internal/cri/constants
)

// Get returns the record of a name, nil if there is none.
func (i Images) Get(ctx context.Context, name string) (*Record, error) {
	response := &images.GetImageResponse{}
	err := i.call(ctx, imagesService+"Get", &images.GetImageRequest{Name: name}, response)
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	return response.GetImage(), err
}

// List returns the records that one of the filters selects; filters have the syntax of
// containerd's package filters.
func (i Images) List(ctx context.Context, filters ...string) ([]*Record, error) {
	response := &images.ListImagesResponse{}
	err := i.call(ctx, imagesService+"List", &images.ListImagesRequest{Filters: filters}, response)
	return response.GetImages(), err
}

// Put makes a record, or gives an existing name the record's target and labels. Other labels
// of the name stay.
func (i Images) Put(ctx context.Context, record *Record) error {
	err := i.call(ctx, imagesService+"Create", &images.CreateImageRequest{Image: record}, &images.CreateImageResponse{})
	if status.Code(err) != codes.AlreadyExists {
		return err
	}
	paths := []string{"target"}
	for _, key := range slices.Sorted(maps.Keys(record.GetLabels())) {
		paths = append(paths, "labels."+key)
	}
	return i.call(ctx, imagesService+"Update", &images.UpdateImageRequest{
		Image:      record,
		UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
	}, &images.UpdateImageResponse{})
}

// Delete deletes a record unless its name has got another target. containerd before 2.0
// deletes it in any case. A missing name is no error.
func (i Images) Delete(ctx context.Context, record *Record) error {
	err := i.call(ctx, imagesService+"Delete", &images.DeleteImageRequest{Name: record.GetName(), Target: record.GetTarget()}, &emptypb.Empty{})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// HasContent reports whether the manifest or index of a record is stored.
func (i Images) HasContent(ctx context.Context, record *Record) (bool, error) {
	err := i.call(ctx, contentService+"Info", &contents.InfoRequest{Digest: record.GetTarget().GetDigest()}, &contents.InfoResponse{})
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	return err == nil, err
}

func (i Images) call(ctx context.Context, method string, request, response proto.Message) error {
	encoded, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	encoded, err = i.Invoke(metadata.AppendToOutgoingContext(ctx, namespaceKey, namespace), method, encoded)
	if err != nil {
		return err
	}
	return proto.Unmarshal(encoded, response)
}
