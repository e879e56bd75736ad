package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// writeLayout writes the index in the OCI image layout. It replaces the folder, which also has
// a manifest.json for Docker's image store.
func writeLayout(folder string, index v1.ImageIndex, tagged reference.NamedTagged) error {
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          tagged.String(),
		"org.opencontainers.image.ref.name": tagged.Tag(),
	}))
	if err != nil {
		return err
	}
	manifest, err := dockerManifest(index, tagged)
	if err != nil {
		return err
	}
	return path.WriteFile("manifest.json", manifest, 0o644)
}

// dockerManifest returns the manifest.json of `docker save`. Docker's own image store reads it
// instead of the index. A name has only one platform there: that of the first image. The other
// images have the architecture in their tags.
func dockerManifest(index v1.ImageIndex, tagged reference.NamedTagged) ([]byte, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	entries := make(tarball.Manifest, 0, len(manifest.Manifests))
	for i, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			return nil, err
		}
		content, err := image.Manifest()
		if err != nil {
			return nil, err
		}
		name := tagged.String()
		if i > 0 {
			name += "-" + descriptor.Platform.Architecture
		}
		entry := tarball.Descriptor{Config: blob(content.Config), RepoTags: []string{name}}
		for _, layer := range content.Layers {
			entry.Layers = append(entry.Layers, blob(layer))
		}
		entries = append(entries, entry)
	}
	return json.Marshal(entries)
}

// blob returns the path of a blob in the layout.
func blob(descriptor v1.Descriptor) string {
	return fmt.Sprintf("blobs/%s/%s", descriptor.Digest.Algorithm, descriptor.Digest.Hex)
}

// writeTar writes the files of a folder to a tar, sorted by name.
func writeTar(file, folder string, modified time.Time) (err error) {
	target, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	writer := tar.NewWriter(target)
	root := os.DirFS(folder)
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return writeFile(writer, name, 0o644, modified, content)
	})
	return errors.Join(err, writer.Close())
}
