package testbed

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// VariantFile is the path of a file in every image that contains the image's variant.
const VariantFile = "/etc/variant"

const busyboxPath = "/bin/busybox"

// applets are the busybox commands in an image.
var applets = []string{"cat", "echo", "false", "ls", "sh", "sleep", "true"}

// Image builds an image whose command sleeps for an hour. Images of different variants
// have different digests and IDs, and a different [VariantFile]. On a machine without
// a static busybox the image contains no program, which is sufficient for an
// [EmbeddedRuntime].
func Image(variant string) (v1.Image, error) { return build(variant, busyboxMissing() == nil) }

// SmallImage builds an image of a few hundred bytes that contains no program.
func SmallImage(variant string) (v1.Image, error) { return build(variant, false) }

func build(variant string, busybox bool) (v1.Image, error) {
	layer, err := imageLayer(variant, busybox)
	if err != nil {
		return nil, fmt.Errorf("build an image: %w", err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("build an image: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("build an image: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{
		Cmd:    []string{"sleep", "3600"},
		Env:    []string{"PATH=/bin"},
		Labels: map[string]string{"variant": variant},
	}
	return mutate.ConfigFile(image, file)
}

func imageLayer(variant string, withBusybox bool) (v1.Layer, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	add := func(header tar.Header, body []byte) error {
		header.Size = int64(len(body))
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		_, err := archive.Write(body)
		return err
	}
	var problems []error
	for _, folder := range []string{"bin/", "dev/", "etc/", "proc/", "sys/", "tmp/"} {
		problems = append(problems, add(tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o755}, nil))
	}
	problems = append(problems, add(tar.Header{Name: VariantFile[1:], Mode: 0o644}, []byte(variant+"\n")))
	if withBusybox {
		busybox, err := os.ReadFile(busyboxPath)
		problems = append(problems, err, add(tar.Header{Name: "bin/busybox", Mode: 0o755}, busybox))
		for _, applet := range applets {
			problems = append(problems, add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, nil))
		}
	}
	if err := errors.Join(append(problems, archive.Close())...); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	}, tarball.WithCompressedCaching)
}

// busyboxMissing returns the reason why this machine's busybox can't be used in an image,
// or nil if it can.
func busyboxMissing() error {
	binary, err := elf.Open(busyboxPath)
	if err != nil {
		return fmt.Errorf("busybox-static is missing: %w", err)
	}
	defer func() { _ = binary.Close() }()
	for _, program := range binary.Progs {
		if program.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: install busybox-static", busyboxPath)
		}
	}
	return nil
}
