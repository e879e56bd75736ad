package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// The image that the tests build.
const (
	imageVersion = "v1.2.3-rc.1"
	commitTime   = "2026-01-02T05:04:05+02:00"
	layoutName   = "image-cri-shim-agent_" + imageVersion + "_oci"
)

// writeFiles writes the input of an image into a new folder. The mode and the time of the files
// have no influence on the image.
func writeFiles(t *testing.T, mode os.FileMode) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string]string{
		"LICENSE":                    "the license\n",
		"amd64/image-cri-shim":       "shim amd64",
		"amd64/image-cri-shim-agent": "agent amd64",
		"amd64/other":                "not part of the image",
		"arm64/image-cri-shim":       "shim arm64",
		"arm64/image-cri-shim-agent": "agent arm64",
	} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// build builds an image for both architectures from the input in a folder, with additional
// flags, and returns the folder of the output and the printed text.
func build(t *testing.T, input string, flags ...string) (output, printed string, err error) {
	t.Helper()
	output = t.TempDir()
	arguments := []string{
		"--binaries", input, "--license", filepath.Join(input, "LICENSE"), "--version", imageVersion,
		"--revision", "0123abc", "--created", commitTime, "--output", output,
	}
	arguments = append(append(arguments, flags...), "amd64", "arm64")
	var text bytes.Buffer
	err = run(t.Context(), arguments, &text)
	return output, text.String(), err
}

// readIndex returns the index in the layout of an output folder, which has no other.
func readIndex(t *testing.T, output string) v1.ImageIndex {
	t.Helper()
	path, err := layout.FromPath(filepath.Join(output, layoutName))
	if err != nil {
		t.Fatal(err)
	}
	root, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the layout has %d entries (%v), want one", len(manifest.Manifests), err)
	}
	index, err := root.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// printedDigest returns the digest of the index in the printed text.
func printedDigest(t *testing.T, printed string) string {
	t.Helper()
	_, rest, _ := strings.Cut(printed, "digest: ")
	digest, _, found := strings.Cut(rest, "\n")
	if !found {
		t.Fatalf("no digest is printed:\n%s", printed)
	}
	return digest
}

// readTree returns the content of all files in a folder by name.
func readTree(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	root := os.DirFS(folder)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkConfig requires the platform, the entrypoint and the labels of an image.
func checkConfig(t *testing.T, image v1.Image, architecture string) {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.OS != "linux" || file.Architecture != architecture {
		t.Errorf("the configuration is for %s/%s, want linux/%s", file.OS, file.Architecture, architecture)
	}
	if got := file.Config.Entrypoint; !slices.Equal(got, []string{"/image-cri-shim-agent"}) || len(file.Config.Cmd) > 0 {
		t.Errorf("the entrypoint is %q, the command %q", got, file.Config.Cmd)
	}
	labels := file.Config.Labels
	for name, want := range map[string]string{
		"version": imageVersion, "revision": "0123abc", "created": "2026-01-02T03:04:05Z", "licenses": "Apache-2.0",
	} {
		if got := labels["org.opencontainers.image."+name]; got != want {
			t.Errorf("the label %s is %q, want %q", name, got, want)
		}
	}
}

// checkFiles requires that the image has exactly the license and the programs.
func checkFiles(t *testing.T, image v1.Image, architecture string) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("the image has %d layers (%v), want one", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	var files []string
	reader := tar.NewReader(content)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fmt.Sprintf("%s %c %o %d:%d%s%s %d %s", header.Name, header.Typeflag, header.Mode,
			header.Uid, header.Gid, header.Uname, header.Gname, header.ModTime.Unix(), text))
	}
	want := []string{
		"LICENSE 0 644 0:0 1767323045 the license\n",
		"image-cri-shim 0 755 0:0 1767323045 shim " + architecture,
		"image-cri-shim-agent 0 755 0:0 1767323045 agent " + architecture,
	}
	if !slices.Equal(files, want) {
		t.Errorf("the image has the files %q, want %q", files, want)
	}
}
