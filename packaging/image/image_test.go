package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestBuildsAreIdentical builds an image from two folders whose files have other modes and
// times, and requires the same bytes.
func TestBuildsAreIdentical(t *testing.T) {
	var outputs [2]map[string]string
	for i, mode := range []os.FileMode{0o600, 0o755} {
		output, _, err := build(t, writeFiles(t, mode))
		if err != nil {
			t.Fatal(err)
		}
		outputs[i] = readTree(t, output)
	}
	if !maps.Equal(outputs[0], outputs[1]) {
		t.Errorf("two builds have the files %q and %q, or other content",
			slices.Sorted(maps.Keys(outputs[0])), slices.Sorted(maps.Keys(outputs[1])))
	}
}

func TestImage(t *testing.T) {
	output, printed, err := build(t, writeFiles(t, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	index := readIndex(t, output)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	if digest, err := index.Digest(); err != nil || digest.String() != printedDigest(t, printed) {
		t.Errorf("the layout has the digest %s (%v), but this is printed:\n%s", digest, err, printed)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != "application/vnd.oci.image.index.v1+json" || manifest.Annotations["org.opencontainers.image.version"] != imageVersion {
		t.Errorf("the index is %s with the annotations %v", manifest.MediaType, manifest.Annotations)
	}
	var platforms []string
	for _, descriptor := range manifest.Manifests {
		platforms = append(platforms, descriptor.Platform.String())
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, image, descriptor.Platform.Architecture)
		checkFiles(t, image, descriptor.Platform.Architecture)
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(platforms, want) {
		t.Errorf("the index has the platforms %q, want %q", platforms, want)
	}
}

// TestOutputIsReplaced requires that a second build leaves no files of the first one.
func TestOutputIsReplaced(t *testing.T) {
	input := writeFiles(t, 0o600)
	output, _, err := build(t, input)
	if err != nil {
		t.Fatal(err)
	}
	want := readTree(t, output)
	if err := os.WriteFile(filepath.Join(output, layoutName, "blobs", "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = build(t, input, "--output", output); err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, output); !maps.Equal(got, want) {
		t.Errorf("got the files %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// TestBadInput requires that an error names the bad argument.
func TestBadInput(t *testing.T) {
	input := writeFiles(t, 0o600)
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--version", "1.2+3"}, `--version: tag "1.2+3"`},
		{[]string{"--name", "Agent"}, `--name and --version: image name "Agent"`},
		{[]string{"--created", "yesterday"}, `--created: parsing time "yesterday"`},
		{[]string{"--push", "hub/agent@sha256:" + strings.Repeat("0", 64)}, "--push: image name"},
		{[]string{"--license", "/absent"}, "open /absent"},
		{[]string{"riscv64"}, "build the image for riscv64: open " + input + "/riscv64/image-cri-shim: no such file"},
	} {
		_, _, err := build(t, input, test.flags...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %s", test.flags, err, test.want)
		}
	}
	if err := run(t.Context(), []string{"--version", "1", "--created", commitTime, "--output", t.TempDir()}, io.Discard); err == nil || !strings.Contains(err.Error(), "no architecture") {
		t.Errorf("without an architecture: %v", err)
	}
}
