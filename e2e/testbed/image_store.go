package testbed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	content "github.com/containerd/containerd/api/services/content/v1"
	images "github.com/containerd/containerd/api/services/images/v1"
	leases "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ImageStore is a client of containerd's own API, like ctr and nerdctl. It uses the
// containerd namespace of the CRI plugin.
type ImageStore struct {
	connection *grpc.ClientConn
	images     images.ImagesClient
	content    content.ContentClient
	leases     leases.LeasesClient
}

// ImageOrIndex is an image or an index of images.
type ImageOrIndex interface {
	partial.WithRawManifest
	partial.Describable
}

// OpenImageStore connects to containerd's socket without waiting for an answer.
func OpenImageStore(socket string) (*ImageStore, error) {
	connection, err := dial(socket)
	if err != nil {
		return nil, err
	}
	return &ImageStore{
		connection: connection,
		images:     images.NewImagesClient(connection),
		content:    content.NewContentClient(connection),
		leases:     leases.NewLeasesClient(connection),
	}, nil
}

// Close ends the connection.
func (s *ImageStore) Close() error { return s.connection.Close() }

// Reconnect connects to a restarted containerd without waiting for gRPC's backoff.
func (s *ImageStore) Reconnect() { s.connection.ResetConnectBackoff() }

func inNamespace(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "k8s.io")
}

// Images returns all image records. Each record is one name.
func (s *ImageStore) Images(ctx context.Context) ([]*images.Image, error) {
	response, err := s.images.List(inNamespace(ctx), &images.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containerd's images: %w", err)
	}
	return response.Images, nil
}

// Names returns all names, sorted.
func (s *ImageStore) Names(ctx context.Context) ([]string, error) {
	all, err := s.Images(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, image := range all {
		names[image.Name] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Tag gives the image called name a second name. It moves other if another image has it.
func (s *ImageStore) Tag(ctx context.Context, name, other string) error {
	response, err := s.images.Get(inNamespace(ctx), &images.GetImageRequest{Name: name})
	if err != nil {
		return fmt.Errorf("tag %s: %w", name, err)
	}
	return s.set(ctx, &images.Image{Name: other, Labels: response.Image.Labels, Target: response.Image.Target})
}

// set creates an image record, or replaces the record of the same name.
func (s *ImageStore) set(ctx context.Context, image *images.Image) error {
	_, err := s.images.Create(inNamespace(ctx), &images.CreateImageRequest{Image: image})
	if status.Code(err) == codes.AlreadyExists {
		_, err = s.images.Update(inNamespace(ctx), &images.UpdateImageRequest{Image: image})
	}
	if err != nil {
		return fmt.Errorf("name an image %s: %w", image.Name, err)
	}
	return nil
}

// Untag removes a name. A name that doesn't exist is an error.
func (s *ImageStore) Untag(ctx context.Context, name string) error {
	if _, err := s.images.Delete(inNamespace(ctx), &images.DeleteImageRequest{Name: name}); err != nil {
		return fmt.Errorf("untag %s: %w", name, err)
	}
	return nil
}

// Load stores an image under a name, as `ctr images import` does.
func (s *ImageStore) Load(ctx context.Context, name string, image ImageOrIndex) error {
	return s.leased(ctx, func(ctx context.Context) error {
		target, err := s.write(ctx, image)
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
		return s.set(ctx, &images.Image{Name: name, Target: target})
	})
}

// CollectGarbage removes all content that no image, container or lease refers to.
func (s *ImageStore) CollectGarbage(ctx context.Context) error {
	return s.leased(ctx, func(context.Context) error { return nil })
}

// Blobs returns the digests of all content, sorted.
func (s *ImageStore) Blobs(ctx context.Context) ([]string, error) {
	stream, err := s.content.List(inNamespace(ctx), &content.ListContentRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containerd's content: %w", err)
	}
	var digests []string
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			slices.Sort(digests)
			return digests, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list containerd's content: %w", err)
		}
		for _, info := range response.Info {
			digests = append(digests, info.Digest)
		}
	}
}

// leased calls do with a lease, which protects new content. Deleting the lease collects
// garbage.
func (s *ImageStore) leased(ctx context.Context, do func(context.Context) error) error {
	response, err := s.leases.Create(inNamespace(ctx), &leases.CreateRequest{})
	if err != nil {
		return fmt.Errorf("create a lease: %w", err)
	}
	if err := do(metadata.AppendToOutgoingContext(ctx, "containerd-lease", response.Lease.ID)); err != nil {
		return err
	}
	if _, err := s.leases.Delete(inNamespace(ctx), &leases.DeleteRequest{ID: response.Lease.ID, Sync: true}); err != nil {
		return fmt.Errorf("delete a lease: %w", err)
	}
	return nil
}

// write stores the content of an image or index. Its labels refer to the children, so
// that garbage collection keeps them.
func (s *ImageStore) write(ctx context.Context, image ImageOrIndex) (*types.Descriptor, error) {
	var children []string
	var err error
	switch image := image.(type) {
	case v1.ImageIndex:
		children, err = s.writeManifests(ctx, image)
	case v1.Image:
		children, err = s.writeBlobs(ctx, image)
	}
	if err != nil {
		return nil, err
	}
	descriptor, err := partial.Descriptor(image)
	if err != nil {
		return nil, err
	}
	raw, err := image.RawManifest()
	if err != nil {
		return nil, err
	}
	target := &types.Descriptor{MediaType: string(descriptor.MediaType), Digest: descriptor.Digest.String(), Size: descriptor.Size}
	return target, s.writeBlob(ctx, target.Digest, raw, children)
}

func (s *ImageStore) writeManifests(ctx context.Context, index v1.ImageIndex) (children []string, err error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			return nil, err
		}
		if _, err := s.write(ctx, image); err != nil {
			return nil, err
		}
		children = append(children, descriptor.Digest.String())
	}
	return children, nil
}

func (s *ImageStore) writeBlobs(ctx context.Context, image v1.Image) (children []string, err error) {
	config, err := partial.ConfigLayer(image)
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range append(layers, config) {
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		reader, err := layer.Compressed()
		if err != nil {
			return nil, err
		}
		var data bytes.Buffer
		if _, err := data.ReadFrom(reader); err != nil {
			return nil, err
		}
		if err := s.writeBlob(ctx, digest.String(), data.Bytes(), nil); err != nil {
			return nil, err
		}
		children = append(children, digest.String())
	}
	return children, nil
}

func (s *ImageStore) writeBlob(ctx context.Context, digest string, data []byte, children []string) error {
	stream, err := s.content.Write(inNamespace(ctx))
	if err != nil {
		return err
	}
	labels := make(map[string]string)
	for i, child := range children {
		labels[fmt.Sprintf("containerd.io/gc.ref.content.%d", i)] = child
	}
	err = stream.Send(&content.WriteContentRequest{
		Action: content.WriteAction_COMMIT, Ref: "testbed-" + digest, Expected: digest, Total: int64(len(data)), Data: data, Labels: labels,
	})
	if err != nil && err != io.EOF { // on io.EOF, Recv returns the error
		return err
	}
	if _, err = stream.Recv(); err != nil && status.Code(err) != codes.AlreadyExists {
		return fmt.Errorf("write content %s: %w", digest, err)
	}
	return stream.CloseSend()
}
