package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// source is the input of an image.
type source struct {
	binaries          string   // has a folder for each architecture
	architectures     []string // in the order of the index
	license           string   // file
	version, revision string
	created           time.Time
}

// build returns an index with an image for each architecture.
func (s source) build() (v1.ImageIndex, error) {
	if len(s.architectures) == 0 {
		return nil, errors.New("no architecture: name at least one, such as amd64")
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range s.architectures {
		image, err := s.image(architecture)
		if err != nil {
			return nil, fmt.Errorf("build the image for %s: %w", architecture, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	return mutate.Annotations(index, s.labels()).(v1.ImageIndex), nil
}

// labels returns the labels of each image, which are also the annotations of the index.
func (s source) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "image-cri-shim-agent",
		"org.opencontainers.image.description": "Installs image-cri-shim on the nodes of a cluster",
		"org.opencontainers.image.version":     s.version,
		"org.opencontainers.image.revision":    s.revision,
		"org.opencontainers.image.created":     s.created.Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}

// image returns the image of an architecture. Its only layer has both programs, because the
// version is linked into both: no release leaves one of them unchanged.
func (s source) image(architecture string) (v1.Image, error) {
	content, err := s.layer(architecture)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithCompressionLevel(gzip.BestCompression),
		tarball.WithCompressedCaching,
		tarball.WithMediaType(types.OCILayer),
	)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: architecture,
		OS:           "linux",
		Created:      v1.Time{Time: s.created},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/image-cri-shim-agent"},
			// The agent runs programs of the host, such as credential helpers.
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			WorkingDir: "/",
			Labels:     s.labels(),
		},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: s.created}, CreatedBy: "make image"},
	})
}

// layer returns a tar of the license and the two programs, sorted by name.
func (s source) layer(architecture string) ([]byte, error) {
	var content bytes.Buffer
	writer := tar.NewWriter(&content)
	binaries := filepath.Join(s.binaries, architecture)
	for _, file := range []struct {
		name, source string
		mode         int64
	}{
		{"LICENSE", s.license, 0o644},
		{"image-cri-shim", filepath.Join(binaries, "image-cri-shim"), 0o755},
		{"image-cri-shim-agent", filepath.Join(binaries, "image-cri-shim-agent"), 0o755},
	} {
		text, err := os.ReadFile(file.source)
		if err != nil {
			return nil, err
		}
		if err := writeFile(writer, file.name, file.mode, s.created, text); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// writeFile adds a file of root to a tar.
func writeFile(writer *tar.Writer, name string, mode int64, modified time.Time, content []byte) error {
	err := writer.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     name,
		Mode:     mode,
		Size:     int64(len(content)),
		ModTime:  modified,
		Format:   tar.FormatUSTAR,
	})
	if err == nil {
		_, err = writer.Write(content)
	}
	return err
}
