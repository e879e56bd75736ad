package main

import (
	"archive/tar"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestTarHasTheLayout compares the files in the tar with those of the layout.
func TestTarHasTheLayout(t *testing.T) {
	output, _, err := build(t, writeFiles(t, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(output, layoutName+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	packed := make(map[string]string)
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		packed[header.Name] = string(content)
	}
	if !maps.Equal(packed, readTree(t, filepath.Join(output, layoutName))) {
		t.Error("the tar and the layout have other files")
	}
}

// TestTarIsADockerArchive reads the tar as Docker's own image store does, which has one image
// for each name.
func TestTarIsADockerArchive(t *testing.T) {
	output, _, err := build(t, writeFiles(t, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for tag, architecture := range map[string]string{
		"image-cri-shim-agent:" + imageVersion:            "amd64",
		"image-cri-shim-agent:" + imageVersion + "-arm64": "arm64",
	} {
		reference, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(filepath.Join(output, layoutName+".tar"), &reference)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(image); err != nil {
			t.Error(err)
		}
		checkConfig(t, image, architecture)
		checkFiles(t, image, architecture)
	}
}
