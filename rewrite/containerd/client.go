// Package containerd is a client of containerd's images service, which stores the names of
// images. containerd serves it on the same socket as the CRI.
//
//	images := containerd.Images{Invoke: invoke}
//	record, err := images.Get(ctx, "docker.io/library/nginx:1.25")
//
// For containerd, docker.io/library/nginx:1.25 is a [Record]: a name with the descriptor of
// a manifest or index. A CRI image combines all records with descriptors that lead to the
// same image configuration. The CRI shows a changed record within milliseconds.
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

// Record is an image name as containerd stores it.
type Record = images.Image

// Descriptor is the target of a record: a manifest or an index.
type Descriptor = types.Descriptor

// PinnedLabel has the value "pinned" on a record that kubelet must not remove (containerd,
// internal/cri/labels). containerd 2 pins the sandbox image.
const PinnedLabel = "io.cri-containerd.pinned"

// IsPinned reports whether a record is pinned.
func IsPinned(record *Record) bool { return record.GetLabels()[PinnedLabel] == "pinned" }

// Images is a client of the images service in the namespace of the CRI. It is safe for
// concurrent use. Invoke must send the outgoing metadata of its context.
type Images struct{ Invoke intercept.Invoke }

const (
	imagesService  = "/containerd.services.images.v1.Images/"
	contentService = "/containerd.services.content.v1.Content/"

	namespaceKey = "containerd-namespace" // pkg/namespaces/grpc.go
	namespace    = "k8s.io"               // internal/cri/constants
)

// Get returns the record of a name, or nil if there is none.
func (i Images) Get(ctx context.Context, name string) (*Record, error) {
	response := &images.GetImageResponse{}
	err := i.call(ctx, imagesService+"Get", &images.GetImageRequest{Name: name}, response)
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	return response.GetImage(), err
}

// List returns the records that match at least one filter. Filters have the syntax of
// containerd's package filters.
func (i Images) List(ctx context.Context, filters ...string) ([]*Record, error) {
	response := &images.ListImagesResponse{}
	err := i.call(ctx, imagesService+"List", &images.ListImagesRequest{Filters: filters}, response)
	return response.GetImages(), err
}

// Put creates a record, or updates the target and the given labels of an existing one. Other
// labels of an existing record stay.
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

// Delete deletes a record unless it has another target by now. containerd before 2.0 ignores
// the target and always deletes it. A missing record is not an error.
func (i Images) Delete(ctx context.Context, record *Record) error {
	err := i.call(ctx, imagesService+"Delete", &images.DeleteImageRequest{Name: record.GetName(), Target: record.GetTarget()}, &emptypb.Empty{})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// HasContent reports whether containerd has the content of a record's manifest or index.
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
